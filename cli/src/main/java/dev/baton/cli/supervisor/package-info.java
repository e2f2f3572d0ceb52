/**
 * Runs the processes of a system on one machine: starts them in parallel, waits until requests can
 * be served, restarts what dies, and leaves nothing behind.
 */
@NullMarked
package dev.baton.cli.supervisor;

import org.jspecify.annotations.NullMarked;
