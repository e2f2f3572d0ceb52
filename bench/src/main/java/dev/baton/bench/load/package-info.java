/** Measures how long a checkpoint takes to be ready to serve, and how much memory on the way. */
@org.jspecify.annotations.NullMarked
package dev.baton.bench.load;
