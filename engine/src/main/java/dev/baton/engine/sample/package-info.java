/**
 * From rows of logits to the next tokens. A draw depends on the logits, the parameters, the tokens
 * so far, the seed and the index of the generated token, and on nothing else: any worker can go on
 * with any session.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.engine.sample;
