/**
 * The hand-off of KV from an exporter to an importer, in slabs; {@link
 * dev.baton.kvtransfer.KvTransfer} is the door. Knows slabs and peers, not models: what a slab
 * carries is packed by a {@link dev.baton.kvtransfer.KvSource} and unpacked by a {@link
 * dev.baton.kvtransfer.KvSink}.
 *
 * <h2>The contract</h2>
 *
 * <ol>
 *   <li>The importer issues a {@link dev.baton.kvtransfer.Ticket} ({@link
 *       dev.baton.kvtransfer.KvTransfer#expect}); it names the importer's listener and carries a
 *       one-time secret. It travels to the exporter over the control plane.
 *   <li>The exporter opens an {@link dev.baton.kvtransfer.Export} with it, says how far the KV is
 *       computed, and finishes with a manifest. Slabs leave while later tokens are still being
 *       computed. No order of arrival is promised.
 *   <li>The importer picks where each announced slab lands, from its own bounded pool; checks
 *       header, range and checksum; has the sink unpack it; and acknowledges it. A slab that fails
 *       the check is asked for again, at most {@code TransferOptions.maxResends} times.
 *   <li>When the manifest and everything that it counts have been verified, and every position was
 *       covered exactly once, the importer completes and acknowledges; only then may the KV be
 *       read. Whatever goes wrong before, fails both sides once.
 *   <li>Each side keeps the hand-off alive by heartbeats; one that is silent for a lease is given
 *       up. The importer grants credit, and the exporter has at most that much announced and not
 *       answered.
 *   <li>Nobody writes into another process's memory; a send's completion proves nothing, the
 *       acknowledgement does.
 *   <li>Cancelling never blocks. After a listener's last call the service touches neither source
 *       nor sink again.
 * </ol>
 */
@org.jspecify.annotations.NullMarked
package dev.baton.kvtransfer;
