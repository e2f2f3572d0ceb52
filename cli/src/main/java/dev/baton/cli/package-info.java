/**
 * The {@code baton} commands. Command classes only parse and check options; what loads gRPC, Vert.x
 * or the engine stands in classes of its own, so that {@code up}, which is a mere supervisor,
 * starts with few classes.
 */
@NullMarked
package dev.baton.cli;

import org.jspecify.annotations.NullMarked;
