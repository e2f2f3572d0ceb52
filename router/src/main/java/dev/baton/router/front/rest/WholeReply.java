package dev.baton.router.front.rest;

import dev.baton.proto.errors.v1.Failure;
import dev.baton.router.generation.Piece;
import dev.baton.router.generation.PreparedRequest;
import java.util.List;

/** A reply in one JSON body. */
final class WholeReply extends Reply {

  WholeReply(Exchange exchange, ReplyFormat format, List<PreparedRequest> prompts) {
    super(exchange, format, prompts);
  }

  @Override
  void piece(Choice choice, Piece piece) {
    choice.keep(piece);
  }

  @Override
  void finished(Choice choice, Piece last) {
    choice.keep(last);
  }

  @Override
  void complete() {
    exchange.json(200, format.whole(choices));
  }

  @Override
  void broken(Failure failure) {
    exchange.fail(failure);
  }
}
