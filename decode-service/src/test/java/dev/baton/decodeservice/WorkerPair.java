package dev.baton.decodeservice;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.engine.Engine;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.prefillservice.PrefillService;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.DecodeRequest;
import dev.baton.proto.worker.v1.DecodeWorkerGrpc;
import dev.baton.proto.worker.v1.PrefillEvent;
import dev.baton.proto.worker.v1.PrefillRequest;
import dev.baton.proto.worker.v1.PrefillWorkerGrpc;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.proto.worker.v1.SessionSpec;
import dev.baton.worker.fakes.Events;
import dev.baton.worker.fakes.FakeRouter;
import dev.baton.worker.fakes.TestWorker;
import java.util.ArrayList;
import java.util.List;

/** A prefill worker and a decode worker, and what a router does with them. */
final class WorkerPair implements AutoCloseable {

  private final FakeRouter router;
  private final TestWorker prefill;
  private final TestWorker decode;

  /** Takes engines and transfers over. */
  WorkerPair(Engine prefillEngine, KvTransfer exporter, Engine decodeEngine, KvTransfer importer)
      throws Exception {
    router = FakeRouter.accepting(0);
    prefill =
        new TestWorker(
            Role.PREFILL, router.address(), prefillEngine, exporter, PrefillService::create);
    decode =
        new TestWorker(
            Role.DECODE, router.address(), decodeEngine, importer, DecodeService::create);
  }

  TestWorker prefillWorker() {
    return prefill;
  }

  TestWorker decodeWorker() {
    return decode;
  }

  Events<DecodeRequest, DecodeEvent> decode(SessionSpec spec, boolean awaitHandoff) {
    Events<DecodeRequest, DecodeEvent> events = new Events<>();
    DecodeWorkerGrpc.newStub(decode.channel())
        .decode(
            DecodeRequest.newBuilder().setSession(spec).setAwaitHandoff(awaitHandoff).build(),
            events);
    return events;
  }

  Events<PrefillRequest, PrefillEvent> prefill(SessionSpec spec, DecodeEvent reserved) {
    assertThat(reserved.hasReserved()).as("%s", reserved).isTrue();
    Events<PrefillRequest, PrefillEvent> events = new Events<>();
    PrefillWorkerGrpc.newStub(prefill.channel())
        .prefill(
            PrefillRequest.newBuilder().setSession(spec).setTicket(reserved.getReserved()).build(),
            events);
    return events;
  }

  /** All tokens of a session that is split over the two. */
  List<Integer> split(SessionSpec spec) throws Exception {
    Events<DecodeRequest, DecodeEvent> decoding = decode(spec, true);
    Events<PrefillRequest, PrefillEvent> prefilling = prefill(spec, decoding.next());
    PrefillEvent first = prefilling.next();
    assertThat(first.hasFirstToken()).as("%s", first).isTrue();
    List<Integer> all = new ArrayList<>();
    all.add(first.getFirstToken().getTokenId());
    switch (first.getFirstToken().getFinishReason()) {
      case STOP, LENGTH -> decoding.cancel();
      case FINISH_REASON_UNSPECIFIED, UNRECOGNIZED -> {
        all.addAll(tokens(decoding.await(), spec.getGeneratedCount() + 1));
        PrefillEvent last = prefilling.await().getLast();
        assertThat(last.hasHandedOff()).as("%s", last).isTrue();
      }
    }
    return all;
  }

  /** All tokens of a session that the decode worker computes alone. */
  List<Integer> alone(SessionSpec spec) throws Exception {
    return tokens(decode(spec, false).await(), spec.getGeneratedCount());
  }

  /** The tokens of a stream that ended well, whose indices have no gap. */
  static List<Integer> tokens(List<DecodeEvent> events, int firstIndex) {
    assertThat(events.getLast().hasFinished()).as("%s", events.getLast()).isTrue();
    List<SampledToken> tokens =
        events.stream().filter(DecodeEvent::hasToken).map(DecodeEvent::getToken).toList();
    for (int i = 0; i < tokens.size(); i++) {
      assertThat(tokens.get(i).getIndex()).isEqualTo(firstIndex + i);
    }
    return tokens.stream().map(SampledToken::getTokenId).toList();
  }

  static Failure failure(Events<DecodeRequest, DecodeEvent> events) throws Exception {
    return events.await().getLast().getFailure();
  }

  /** Waits until neither holds anything for a session. */
  void awaitClosedLedgers() {
    prefill.awaitClosedLedger();
    decode.awaitClosedLedger();
  }

  @Override
  public void close() throws Exception {
    prefill.close();
    decode.close();
    router.close();
  }
}
