/**
 * A model on a device: {@link dev.baton.engine.Engine} is the only door. Knows token ids, not text;
 * sessions, not clients.
 *
 * <p>Subpackages: {@code checkpoint} (config.json, safetensors), {@code model} (the forward pass
 * and its ranks), {@code cache} (blocks, ledger, prefix sharing), {@code schedule} (which tokens
 * run in a step), {@code sample} (the next token).
 */
@org.jspecify.annotations.NullMarked
package dev.baton.engine;
