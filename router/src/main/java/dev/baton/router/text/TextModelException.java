package dev.baton.router.text;

import org.jspecify.annotations.Nullable;

/**
 * A model directory or a chat template that cannot be used; the message names the file, the line
 * and the reason.
 */
public final class TextModelException extends RuntimeException {

  public TextModelException(String message) {
    super(message);
  }

  public TextModelException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}
