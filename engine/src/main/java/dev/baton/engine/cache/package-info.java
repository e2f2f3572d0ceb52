/**
 * The blocks of the paged KV cache: who holds which ({@link dev.baton.engine.cache.BlockLedger}),
 * which prefix is in which ({@link dev.baton.engine.cache.PrefixCache}), and both kept in step
 * ({@link dev.baton.engine.cache.BlockPool}). Bytes live on the device; here are only block
 * numbers. Everything belongs to the step thread.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.engine.cache;
