/*
 * Murmur2Vectors.java
 *    Prints test/data/murmur2.tsv: keys with the hash and the partition that
 *    Kafka's own Java client gives them.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 * One line per key: key as hex, signed murmur2, partition of 12. The keys are
 * made from a fixed seed, so two runs print the same bytes: `kafka.sh vectors`
 * compares the stored file with the live client.
 */
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Random;

import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.utils.Utils;

public class Murmur2Vectors {
    private static final int PARTITIONS = 12;
    private static final String[] WORDS = {
        "UA", "AA", "N12345", "exception", "köln", "東京", "Ελλάδα", "naïve",
        "مرحبا", "🚀", "e\u0301", "\u0000", " ", ":", "%", "'", "\\", "\t"
    };

    private final Random random = new Random(20130101L);
    private final PrintStream out;

    private Murmur2Vectors(PrintStream out) {
        this.out = out;
    }

    public static void main(String[] args) {
        PrintStream out = new PrintStream(System.out, false);
        new Murmur2Vectors(out).printAll();
        out.flush();
    }

    /** Every length, both signs of bytes, keys as the extension makes them. */
    private void printAll() {
        print(new byte[0]);
        for (int value = 0; value < 256; value++)
            print(new byte[] {(byte) value});
        for (int length = 1; length <= 64; length++)
            for (int copy = 0; copy < 16; copy++)
                print(randomBytes(length));
        for (int length : new int[] {100, 255, 256, 257, 1000, 1001, 1002, 1003})
            print(randomBytes(length));
        for (int number = 0; number < 800; number++)
            print("tenant" + number % 7 + ":N" + (10000 + number * 37));
        for (String left : WORDS)
            for (String right : WORDS)
                print(left + ":" + right);
        for (int number = 0; number < 600; number++)
            print(randomText(1 + random.nextInt(40)));
    }

    private byte[] randomBytes(int length) {
        byte[] bytes = new byte[length];

        random.nextBytes(bytes);
        return bytes;
    }

    /** Any code points but surrogates: UTF-8 of one to four bytes each. */
    private String randomText(int length) {
        StringBuilder text = new StringBuilder();

        while (text.codePointCount(0, text.length()) < length) {
            int codePoint = random.nextInt(1 << (7 + random.nextInt(15)));

            if (codePoint > Character.MAX_CODE_POINT
                    || codePoint >= Character.MIN_SURROGATE
                    && codePoint <= Character.MAX_SURROGATE)
                continue;
            text.appendCodePoint(codePoint);
        }
        return text.toString();
    }

    private void print(String key) {
        print(key.getBytes(StandardCharsets.UTF_8));
    }

    private void print(byte[] key) {
        StringBuilder hex = new StringBuilder();

        for (byte b : key)
            hex.append(String.format("%02x", b & 0xff));
        out.print(hex + "\t" + Utils.murmur2(key) + "\t"
                + BuiltInPartitioner.partitionForKey(key, PARTITIONS) + "\n");
    }
}
