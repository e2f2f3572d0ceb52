package dev.baton.router.front.rest;

import dev.baton.proto.errors.v1.Failure;
import dev.baton.router.failure.FailureException;
import dev.baton.router.generation.Ending;
import dev.baton.router.generation.Generation;
import dev.baton.router.generation.GenerationListener;
import dev.baton.router.generation.Generator;
import dev.baton.router.generation.Piece;
import dev.baton.router.generation.PreparedRequest;
import java.util.ArrayList;
import java.util.List;

/**
 * The answer to one completion request: its continuations run at the same time and end together.
 * When one fails, the others are cancelled; when the client goes, all are. What the continuations
 * tell is brought to the request's event loop, where everything else here happens.
 */
abstract sealed class Reply permits WholeReply, StreamedReply {

  final Exchange exchange;
  final ReplyFormat format;
  final List<Choice> choices = new ArrayList<>();
  private final List<Generation> generations = new ArrayList<>();
  private int unfinished;
  private boolean ended;

  Reply(Exchange exchange, ReplyFormat format, List<PreparedRequest> prompts) {
    this.exchange = exchange;
    this.format = format;
    for (PreparedRequest prompt : prompts) {
      for (int i = 0; i < format.request.n(); i++) {
        choices.add(new Choice(choices.size(), prompt));
      }
    }
    this.unfinished = choices.size();
  }

  /** Starts all continuations, unless the client has gone already. */
  final void start(Generator generator) {
    exchange.onGone(this::cancel);
    for (Choice choice : choices) {
      if (ended) {
        return;
      }
      try {
        generations.add(
            generator.start(
                choice.prepared, choice.index % format.request.n(), new Listener(choice)));
      } catch (FailureException e) {
        failed(e.failure());
      }
    }
  }

  abstract void piece(Choice choice, Piece piece);

  abstract void finished(Choice choice, Piece last);

  /** All continuations have finished. */
  abstract void complete();

  /** The reply cannot be completed; nothing follows. */
  abstract void broken(Failure failure);

  final void pause() {
    generations.forEach(Generation::pause);
  }

  final void resume() {
    generations.forEach(Generation::resume);
  }

  final boolean ended() {
    return ended;
  }

  /** Ends everything without a word. */
  final void cancel() {
    ended = true;
    generations.forEach(Generation::cancel);
  }

  private void failed(Failure failure) {
    if (!ended) {
      cancel();
      broken(failure);
    }
  }

  private final class Listener implements GenerationListener {

    private final Choice choice;

    Listener(Choice choice) {
      this.choice = choice;
    }

    @Override
    public void onPiece(Piece piece) {
      exchange.run(
          () -> {
            if (!ended) {
              choice.hear(piece);
              piece(choice, piece);
            }
          });
    }

    @Override
    public void onFinished(Piece last, Ending ending) {
      exchange.run(
          () -> {
            if (ended) {
              return;
            }
            choice.hear(last);
            choice.ending = ending;
            finished(choice, last);
            if (--unfinished == 0) {
              ended = true;
              complete();
            }
          });
    }

    @Override
    public void onFailure(Failure failure) {
      exchange.run(() -> failed(failure));
    }
  }
}
