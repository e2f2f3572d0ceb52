/**
 * Text in, text out: a request of either front is checked, tokenized and run as a session, and its
 * tokens become pieces of text. {@link dev.baton.router.generation.Generator} is the door.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.router.generation;
