#!/usr/bin/python3
# test/rabbitmq/declare.py PORT WHAT ARGUMENTS: makes something in a RabbitMQ.
# SPDX-License-Identifier: PostgreSQL
#
# Debian's own Python runs it: only that has Debian's pika.
#
#   exchange NAME TYPE
#   queue NAME JSON            its arguments
#   binding EXCHANGE QUEUE KEY
import json
import sys

import pika

port, what, *rest = sys.argv[1:]
connection = pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1', int(port)))
channel = connection.channel()
if what == 'exchange':
    channel.exchange_declare(rest[0], rest[1], durable=True)
elif what == 'queue':
    channel.queue_declare(rest[0], durable=True, arguments=json.loads(rest[1]))
else:
    channel.queue_bind(rest[1], rest[0], rest[2])
connection.close()
