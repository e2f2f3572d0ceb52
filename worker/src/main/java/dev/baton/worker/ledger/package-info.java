/** Who holds what on this worker, and whether somebody answers for it. */
@org.jspecify.annotations.NullMarked
package dev.baton.worker.ledger;
