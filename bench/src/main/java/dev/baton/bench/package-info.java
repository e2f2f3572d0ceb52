/**
 * Measures the production engine on random weights, without network or files: how fast it is, how
 * near to what the machine can do, and against other engines in the same run.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.bench;
