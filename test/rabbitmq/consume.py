#!/usr/bin/env python3
# test/rabbitmq/consume.py PORT QUEUE [COUNT]: takes the messages of a queue.
# SPDX-License-Identifier: PostgreSQL
#
# Prints each as a line of JSON, in the order of the queue, and confirms it.
# Without a count it ends when the queue is empty, is not there, or does not answer:
# a queue that has just come back may not. With one it tries again.
import json
import sys
import time

import pika

port, queue = int(sys.argv[1]), sys.argv[2]
count = int(sys.argv[3]) if len(sys.argv) > 3 else None
taken = 0


def show(method, properties, body):
    print(json.dumps({
        'exchange': method.exchange,
        'routing_key': method.routing_key,
        'redelivered': method.redelivered,
        'headers': properties.headers,
        'message_id': properties.message_id,
        'type': properties.type,
        'content_type': properties.content_type,
        'delivery_mode': properties.delivery_mode,
        'timestamp': properties.timestamp,
        'body': body.decode()}))


def take():
    global taken
    connection = pika.BlockingConnection(
        pika.ConnectionParameters('127.0.0.1', port))
    channel = connection.channel()
    while count is None or taken < count:
        method, properties, body = channel.basic_get(queue)
        if method is None:
            break
        show(method, properties, body)
        channel.basic_ack(method.delivery_tag)
        taken += 1
    connection.close()


while True:
    try:
        take()
    except pika.exceptions.AMQPError as error:
        print(error, file=sys.stderr)
    if count is None or taken >= count:
        break
    time.sleep(0.1)
