package dev.baton.worker.wire;

import com.google.protobuf.ByteString;
import dev.baton.device.DType;
import dev.baton.engine.ModelInfo;
import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.Ticket;
import dev.baton.proto.worker.v1.HandedOff;
import dev.baton.proto.worker.v1.HandoffTicket;

/** Hand-off tickets of the protocol as the transfer's, and back; and what a hand-off cost. */
public final class Tickets {

  private Tickets() {}

  /**
   * @param importer whose ticket it is
   */
  public static HandoffTicket write(Ticket ticket, ModelInfo importer) {
    return HandoffTicket.newBuilder()
        .setTransferId(ByteString.copyFrom(ticket.transfer().toBytes()))
        .setToken(ByteString.copyFrom(ticket.secret().toBytes()))
        .setAddress(new HostPort(ticket.host(), ticket.port()).toString())
        .setFingerprint(importer.fingerprint())
        .setFirstToken(ticket.firstToken())
        .setLeaseMillis(ticket.leaseMillis())
        .setKvBytesPerElement(importer.kvDtype().bytes())
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

  /**
   * The dtype in which the importer wants KV.
   *
   * @param own the exporter's, for an importer that does not say
   * @throws RefusedException naming the field at fault
   */
  public static DType kvDtype(HandoffTicket wire, DType own) {
    return switch (wire.getKvBytesPerElement()) {
      case 0 -> own;
      case 1 -> DType.INT8;
      case 2 -> DType.BFLOAT16;
      case 4 -> DType.FLOAT32;
      default ->
          throw RefusedException.invalid(
              "",
              "ticket.kv_bytes_per_element: %d (expected: 1, 2 or 4, or 0 for the exporter's)"
                  .formatted(wire.getKvBytesPerElement()));
    };
  }

  public static HandedOff handedOff(HandoffStats stats) {
    return HandedOff.newBuilder()
        .setBytes(stats.bytes())
        .setSlabs(stats.slabs())
        .setNanos(stats.nanos())
        .build();
  }
}
