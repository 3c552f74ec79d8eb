/*
 * RouterVectors.java
 *    Prints test/data/router.tsv: rows of an outbox table, and the records that
 *    Debezium's own event router makes of them.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 * One line per row, columns separated by tabs, texts as hex of their UTF-8:
 * id, aggregatetype, aggregateid, type, payload; topic, key, value, and each
 * header as name=value. The rows are what Debezium's PostgreSQL connector gives
 * the router for an INSERT. The router has its defaults, and the one option of
 * Debezium's examples, which puts the event's type into a header. Keys, values
 * and headers are turned into bytes by Kafka Connect's own converters.
 * `kafka.sh router` compares the stored file with the live router.
 */
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

import io.debezium.data.Json;
import io.debezium.data.Uuid;
import io.debezium.transforms.outbox.EventRouter;

import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.header.Header;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.storage.SimpleHeaderConverter;
import org.apache.kafka.connect.storage.StringConverter;

public class RouterVectors {
    private static final Schema KEY = SchemaBuilder.struct().name("s.public.outbox.Key")
            .field("id", Uuid.schema()).build();
    private static final Schema ROW = SchemaBuilder.struct().name("s.public.outbox.Value").optional()
            .field("id", Uuid.schema())
            .field("aggregatetype", Schema.STRING_SCHEMA)
            .field("aggregateid", Schema.STRING_SCHEMA)
            .field("type", Schema.STRING_SCHEMA)
            .field("payload", Json.builder().optional().build()).build();
    private static final Schema SOURCE = SchemaBuilder.struct()
            .name("io.debezium.connector.postgresql.Source")
            .field("lsn", Schema.OPTIONAL_INT64_SCHEMA).build();
    private static final Schema ENVELOPE = SchemaBuilder.struct().name("s.public.outbox.Envelope")
            .field("before", ROW).field("after", ROW).field("source", SOURCE)
            .field("op", Schema.STRING_SCHEMA)
            .field("ts_ms", Schema.OPTIONAL_INT64_SCHEMA).build();

    private static final String[] IDS = {
        "plain", "A-1", "with space", "a:b", "a/b?c=%20", "köln", "東京", "🚀 e\u0301",
        "'quoted' \"twice\"", "back\\slash", "comma, equals=", "0", "null", "true", "{\"a\": 1}", "x=1,y=2"
    };
    private static final String[] TYPES = {
        "OrderPlaced", "order.placed", "com/example:OrderPlaced-2", "T"
    };
    /** As PostgreSQL prints jsonb. */
    private static final String[] PAYLOADS = {
        "{}", "{\"a\": 1}", "{\"a\": 1.0, \"b\": null}", "{\"name\": \"köln 東京 🚀\"}",
        "{\"deep\": {\"list\": [1, 2, {\"x\": [true, false, null]}], \"text\": \"a\\nb\\t\\\"c\\\"\"}}",
        "{\"n\": 123456789012345678901234567890.12345}"
    };

    private final EventRouter<SourceRecord> router = new EventRouter<>();
    private final StringConverter strings = new StringConverter();
    private final SimpleHeaderConverter headers = new SimpleHeaderConverter();
    private final PrintStream out;
    private int number;

    private RouterVectors(PrintStream out) {
        Map<String, String> options = new HashMap<>();

        this.out = out;
        options.put("table.fields.additional.placement", "type:header:eventType");
        router.configure(options);
        strings.configure(new HashMap<>(), true);
    }

    public static void main(String[] args) {
        PrintStream out = new PrintStream(System.out, false);
        RouterVectors vectors = new RouterVectors(out);

        for (String id : IDS)
            vectors.print(id, TYPES[0], PAYLOADS[1]);
        for (String type : TYPES)
            for (String payload : PAYLOADS)
                vectors.print("many", type, payload);
        out.flush();
    }

    private void print(String aggregateId, String type, String payload) {
        String id = String.format("0d9f4c5e-6b1a-4c3d-8e2f-%012x", ++number);
        String aggregateType = number % 2 == 0 ? "router" : "router-2.x_y";
        Struct row = new Struct(ROW).put("id", id).put("aggregatetype", aggregateType)
                .put("aggregateid", aggregateId).put("type", type).put("payload", payload);
        SourceRecord record = router.apply(new SourceRecord(Map.of(), Map.of(), "s.public.outbox",
                KEY, new Struct(KEY).put("id", id), ENVELOPE,
                new Struct(ENVELOPE).put("after", row).put("source", new Struct(SOURCE))
                        .put("op", "c").put("ts_ms", 1357000000000L)));
        StringBuilder line = new StringBuilder(id);

        for (String text : new String[] {aggregateType, aggregateId, type, payload})
            line.append('\t').append(hex(text.getBytes(StandardCharsets.UTF_8)));
        line.append('\t').append(record.topic());
        line.append('\t').append(hex(strings.fromConnectData(record.topic(),
                record.keySchema(), record.key())));
        line.append('\t').append(hex(strings.fromConnectData(record.topic(),
                record.valueSchema(), record.value())));
        for (Header header : record.headers())
            line.append('\t').append(header.key()).append('=').append(hex(
                    headers.fromConnectHeader(record.topic(), header.key(), header.schema(),
                            header.value())));
        out.println(line);
    }

    private static String hex(byte[] bytes) {
        StringBuilder text = new StringBuilder();

        for (byte value : bytes)
            text.append(String.format("%02x", value));
        return text.toString();
    }
}
