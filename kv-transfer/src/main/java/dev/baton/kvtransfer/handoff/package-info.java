/**
 * Both sides of hand-offs: the state machines {@link dev.baton.kvtransfer.handoff.ExportMachine}
 * and {@link dev.baton.kvtransfer.handoff.ImportMachine}, which decide, and {@link
 * dev.baton.kvtransfer.handoff.HandoffService}, which has the threads, slabs and connections and
 * does what they say.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.kvtransfer.handoff;
