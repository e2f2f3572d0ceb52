package dev.baton.router.session;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.PrefillEvent;

/** What a worker's word tells of its session's hand-off. */
enum HandoffOutcome {
  ARRIVED,
  FAILED,
  UNTOLD;

  static HandoffOutcome of(DecodeEvent event) {
    return switch (event.getEventCase()) {
      case KV_SETTLED -> event.getKvSettled().getRecomputed() ? FAILED : ARRIVED;
      case FAILURE -> of(event.getFailure().getCode());
      case RESERVED, TOKEN, FINISHED, SUSPENDED, EVENT_NOT_SET -> UNTOLD;
    };
  }

  static HandoffOutcome of(PrefillEvent event) {
    return switch (event.getEventCase()) {
      case HANDED_OFF -> ARRIVED;
      case FAILURE -> of(event.getFailure().getCode());
      case FIRST_TOKEN, EVENT_NOT_SET -> UNTOLD;
    };
  }

  /** A worker that speaks of a lost worker means its peer. */
  private static HandoffOutcome of(ErrorCode code) {
    return code == ErrorCode.HANDOFF_FAILED || code == ErrorCode.WORKER_LOST ? FAILED : UNTOLD;
  }
}
