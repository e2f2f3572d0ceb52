/**
 * {@code baton verify}: shows on the user's own model that a session whose KV was handed over gives
 * what a session of one worker gives: the same tokens, the same log probabilities, the same bytes
 * of KV. {@link dev.baton.bench.verify.Verification} does it; {@link
 * dev.baton.bench.verify.VerifyReport} says what was compared and what it means.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.bench.verify;
