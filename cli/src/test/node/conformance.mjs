// The official client against a running system: everything it sends and parses must just work.
// BATON_URL: base URL with /v1. BATON_EXPECTED: the greedy 200 tokens of the small model.
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const model = 'stories260K';
const expected = process.env.BATON_EXPECTED;
const client = new OpenAI({ baseURL: process.env.BATON_URL, apiKey: 'unused', maxRetries: 0 });
const greedy = { model, max_tokens: 200, temperature: 0 };
const messages = [{ role: 'user', content: 'Tell me a story.' }];

const checks = {
  async 'lists the model'() {
    const ids = [];
    for await (const entry of client.models.list()) {
      ids.push(entry.id);
    }
    assert.deepEqual(ids, [model]);
    assert.equal((await client.models.retrieve(model)).id, model);
  },

  async 'completes an empty prompt'() {
    const completion = await client.completions.create({ ...greedy, prompt: '' });
    assert.equal(completion.object, 'text_completion');
    assert.equal(completion.choices[0].text, expected);
    assert.equal(completion.choices[0].finish_reason, 'length');
    assert.equal(completion.usage.completion_tokens, 200);
    assert.equal(completion.usage.total_tokens, completion.usage.prompt_tokens + 200);
  },

  async 'completes token ids'() {
    const completion = await client.completions.create({ ...greedy, prompt: [1] });
    assert.equal(completion.choices[0].text, expected);
  },

  async 'streams a completion with its usage'() {
    const stream = await client.completions.create({
      ...greedy,
      prompt: '',
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = '';
    let usage = null;
    let reason = null;
    let chunks = 0;
    for await (const chunk of stream) {
      chunks++;
      text += chunk.choices[0]?.text ?? '';
      reason = chunk.choices[0]?.finish_reason ?? reason;
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, expected);
    assert.equal(reason, 'length');
    assert.equal(usage.completion_tokens, 200);
    assert.ok(chunks > 50, `${chunks} chunks`);
  },

  async 'chats'() {
    const chat = await client.chat.completions.create({ ...greedy, messages, max_tokens: 20 });
    assert.equal(chat.object, 'chat.completion');
    assert.equal(chat.choices[0].message.role, 'assistant');
    assert.equal(typeof chat.choices[0].message.content, 'string');
    assert.equal(chat.usage.completion_tokens <= 20, true);
  },

  async 'streams a chat that says the same'() {
    const request = { ...greedy, messages, max_tokens: 20 };
    const whole = await client.chat.completions.create(request);
    const stream = await client.chat.completions.create({ ...request, stream: true });
    let text = '';
    let role = null;
    for await (const chunk of stream) {
      role = chunk.choices[0]?.delta?.role ?? role;
      text += chunk.choices[0]?.delta?.content ?? '';
    }
    assert.equal(role, 'assistant');
    assert.equal(text, whole.choices[0].message.content);
  },

  async 'gives several choices and log probabilities'() {
    const completion = await client.completions.create({
      model,
      prompt: 'Once',
      n: 2,
      max_tokens: 4,
      logprobs: 3,
      seed: 7,
    });
    assert.deepEqual(
      completion.choices.map((choice) => choice.index).sort(),
      [0, 1],
    );
    assert.equal(completion.choices[0].logprobs.tokens.length, 4);
    assert.equal(completion.choices[0].logprobs.token_logprobs.length, 4);
  },

  async 'stops at a string'() {
    const completion = await client.completions.create({ ...greedy, prompt: '', stop: [' Lily'] });
    assert.equal(completion.choices[0].text, expected.slice(0, expected.indexOf(' Lily')));
    assert.equal(completion.choices[0].finish_reason, 'stop');
  },

  async 'says that a model is not found'() {
    await assert.rejects(
      client.completions.create({ ...greedy, model: 'none', prompt: '' }),
      (error) =>
        error instanceof OpenAI.NotFoundError &&
        error.code === 'model_not_found' &&
        error.type === 'invalid_request_error',
    );
  },

  async 'says what is wrong with a request'() {
    await assert.rejects(
      client.completions.create({ ...greedy, prompt: '', max_tokens: -1 }),
      (error) =>
        error instanceof OpenAI.BadRequestError &&
        error.param === 'max_tokens' &&
        error.type === 'invalid_request_error',
    );
  },

  async 'says that a prompt is too long'() {
    await assert.rejects(
      client.completions.create({ ...greedy, prompt: Array(600).fill(5) }),
      (error) => error instanceof OpenAI.BadRequestError && error.code === 'context_length_exceeded',
    );
  },

  async 'stops when the client breaks off'() {
    const stream = await client.completions.create({ ...greedy, prompt: '', stream: true });
    for await (const chunk of stream) {
      assert.ok(chunk.choices);
      break;
    }
    const completion = await client.completions.create({ ...greedy, prompt: '', max_tokens: 5 });
    assert.equal(completion.usage.completion_tokens, 5);
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok   ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAIL ${name}: ${error.stack}`);
  }
}
process.exit(failed === 0 ? 0 : 1);
