/**
 * From a row of logits to the next token. A draw depends on the logits, the seed and the index of
 * the generated token, and on nothing else: any worker can go on with any session.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.engine.sample;
