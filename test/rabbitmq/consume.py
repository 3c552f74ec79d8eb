#!/usr/bin/python3
# test/rabbitmq/consume.py PORT QUEUE [COUNT]: takes the messages of a queue.
# SPDX-License-Identifier: PostgreSQL
#
# Debian's own Python runs it: only that has Debian's pika.
#
# Prints each as a line of JSON, in the order of the queue, and confirms it.
# Without a count it takes what is there, many at a time, and ends when the queue is
# not there, or does not answer: a queue that has just come back may not. With one it
# tries again.
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


# No more than these are ever on their way here: what the broker takes back it may put
# behind what it has handed out meanwhile.
def take_all(channel):
    global taken
    there = channel.queue_declare(queue, passive=True).method.message_count
    while taken < there:
        wanted = min(there - taken, 1000)
        channel.basic_qos(prefetch_count=wanted)
        came = 0
        for method, properties, body in channel.consume(
                queue, inactivity_timeout=5):
            if method is None:
                break
            show(method, properties, body)
            last = method.delivery_tag
            came += 1
            if came == wanted:
                break
        channel.cancel()
        if came > 0:
            channel.basic_ack(last, multiple=True)
        taken += came
        if came < wanted:
            break


def take_some(channel):
    global taken
    while taken < count:
        method, properties, body = channel.basic_get(queue)
        if method is None:
            break
        show(method, properties, body)
        channel.basic_ack(method.delivery_tag)
        taken += 1


def take():
    connection = pika.BlockingConnection(
        pika.ConnectionParameters('127.0.0.1', port))
    (take_all if count is None else take_some)(connection.channel())
    connection.close()


while True:
    try:
        take()
    except pika.exceptions.AMQPError as error:
        print(error, file=sys.stderr)
    if count is None or taken >= count:
        break
    time.sleep(0.1)
