/** A model whose next token is a hash of all tokens before it, read back from its KV. */
@org.jspecify.annotations.NullMarked
package dev.baton.simulation.model;
