package dev.baton.worker.wire;

import com.google.protobuf.ByteString;
import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.Ticket;
import dev.baton.proto.worker.v1.HandedOff;
import dev.baton.proto.worker.v1.HandoffTicket;

/** Hand-off tickets of the protocol as the transfer's, and back; and what a hand-off cost. */
public final class Tickets {

  private Tickets() {}

  public static HandoffTicket write(Ticket ticket, String fingerprint) {
    return HandoffTicket.newBuilder()
        .setTransferId(ByteString.copyFrom(ticket.transfer().toBytes()))
        .setToken(ByteString.copyFrom(ticket.secret().toBytes()))
        .setAddress(new HostPort(ticket.host(), ticket.port()).toString())
        .setFingerprint(fingerprint)
        .setFirstToken(ticket.firstToken())
        .setLeaseMillis(ticket.leaseMillis())
        .build();
  }

  /**
   * Reads a ticket for a context of {@code contextTokens}.
   *
   * @throws RefusedException naming the field at fault, never the secret
   */
  public static Ticket read(HandoffTicket wire, int contextTokens) {
    if (wire.getFirstToken() < 0 || wire.getFirstToken() >= contextTokens) {
      throw RefusedException.invalid(
          "",
          "ticket.first_token: %d (expected: 0 to %d)"
              .formatted(wire.getFirstToken(), contextTokens - 1));
    }
    try {
      HostPort address = HostPort.parse(wire.getAddress());
      return new Ticket(
          Bits128.of(wire.getTransferId().toByteArray()),
          Bits128.of(wire.getToken().toByteArray()),
          address.host(),
          address.port(),
          wire.getFirstToken(),
          wire.getLeaseMillis());
    } catch (IllegalArgumentException e) {
      throw RefusedException.invalid("", "ticket: " + e.getMessage());
    }
  }

  public static HandedOff handedOff(HandoffStats stats) {
    return HandedOff.newBuilder()
        .setBytes(stats.bytes())
        .setSlabs(stats.slabs())
        .setNanos(stats.nanos())
        .build();
  }
}
