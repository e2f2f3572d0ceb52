/**
 * Text and tokens: tokenizer, incremental detokenization, stop strings, chat templates. {@link
 * dev.baton.router.text.TextModel} is the door.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.router.text;
