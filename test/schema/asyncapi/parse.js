/*
 * parse.js: what AsyncAPI's own parser and another validator make of a document.
 * SPDX-License-Identifier: PostgreSQL
 *
 * Reads {"document": …, "ask": [{"key": …, "values": […]}]} and writes
 * {"errors": […], "channels": …, "verdicts": [[…]]}: errors that the parser
 * reports, or an example breaks; channels with address and messages; and for each
 * key whether its schema takes the values.
 */
'use strict';
const { Parser } = require('@asyncapi/parser');
const Ajv = require('ajv/dist/2020').default;
const formats = require('ajv-formats').default;

// what a schema in the document says, with the document around it
function validators(document) {
    const ajv = new Ajv({ strict: false, logger: false });
    formats(ajv);
    ajv.addSchema(document, 'document');
    return (key) => {
        const pointer = `/components/schemas/${key}/schema`;
        return ajv.getSchema(`document#${pointer}`);
    };
}

async function main(input) {
    const { document, diagnostics } =
        await new Parser().parse(JSON.stringify(input.document));
    const errors = diagnostics.filter((d) => d.severity === 0)
        .map((d) => `${d.path.join('/')}: ${d.message}`);
    const schema = validators(input.document);
    const channels = {};
    if (document) {
        for (const channel of document.channels().all()) {
            channels[channel.id()] = {
                address: channel.address(),
                actions: channel.operations().all().map((o) => o.action()),
                messages: channel.messages().all().map((m) => m.id()),
            };
        }
    }
    for (const [key, message] of
        Object.entries(input.document.components.messages)) {
        const check = schema(key);
        for (const example of message.examples ?? []) {
            if (!check(example.payload)) errors.push(`example of ${key}`);
        }
    }
    const verdicts = input.ask.map(({ key, values }) => {
        const check = schema(key);
        return values.map((value) => check(value));
    });
    process.stdout.write(JSON.stringify({ errors, channels, verdicts }));
}

let text = '';
process.stdin.on('data', (part) => { text += part; })
    .on('end', () => main(JSON.parse(text)));
