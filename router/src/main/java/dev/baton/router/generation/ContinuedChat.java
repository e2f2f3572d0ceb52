package dev.baton.router.generation;

import dev.baton.router.failure.FailureException;
import dev.baton.router.text.TextModel.ChatInput;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A chat rendered up to the end of its last message's content. As in transformers, a mark at the
 * end of that content shows where the end is, for what the template writes after it may look like
 * content, and the content may be empty.
 */
final class ContinuedChat {

  private static final String MARK = "CONTINUE_FINAL_MESSAGE_TAG";

  private ContinuedChat() {}

  /**
   * @param render the model's template
   * @throws FailureException when the template does not keep the content
   */
  static String render(ChatInput input, Function<ChatInput, String> render) {
    String content = String.valueOf(input.messages().getLast().get("content"));
    String rendered = render.apply(marked(input, content));
    int end = rendered.lastIndexOf(MARK);
    String kept = rendered.substring(0, Math.max(0, end));
    if (end < 0 || !kept.contains(content.strip())) {
      throw FailureException.invalid(
          "continue_final_message",
          "continue_final_message: the chat template changes the last message's content"
              + " (expected: a template that keeps it)");
    }
    // A template that trims a message takes the blank behind the mark away.
    return rendered.startsWith(" ", end + MARK.length()) ? kept : kept.stripTrailing();
  }

  private static ChatInput marked(ChatInput input, String content) {
    List<Map<String, @Nullable Object>> messages = new ArrayList<>(input.messages());
    Map<String, @Nullable Object> last = new LinkedHashMap<>(messages.removeLast());
    last.put("content", content + MARK + " ");
    messages.add(last);
    return new ChatInput(messages, input.tools(), input.addGenerationPrompt(), input.extra());
  }
}
