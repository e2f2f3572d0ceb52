/**
 * Measures what keeping weights and KV in fewer bits costs: the engine in each format against the
 * engine in float32, on the same tokens.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.bench.quality;
