package dev.baton.kvtransfer;

/**
 * The right to hand the KV of one session attempt to one importer, once.
 *
 * @param transfer name of the hand-off
 * @param secret presented by the exporter on the data connection; not in {@link #toString}
 * @param host of the importer's listener
 * @param firstToken context tokens whose KV the importer has already; the exporter sends from here
 *     on, or from later on, where what is left out is behind the window of the model
 * @param leaseMillis within which the exporter must come, or the importer gives up; from then on
 *     both keep the hand-off alive by heartbeats
 */
public record Ticket(
    Bits128 transfer, Bits128 secret, String host, int port, int firstToken, long leaseMillis) {

  @Override
  public String toString() {
    return "transfer %s to %s:%d from token %d".formatted(transfer, host, port, firstToken);
  }
}
