# test/kafka/001_murmur2.pl: the stored vectors are those of the live client.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use Test::More tests => 1;

is(system("$FindBin::RealBin/kafka.sh", 'vectors'),
	0, 'test/data/murmur2.tsv equals what kafka-clients computes');
