package dev.baton.router.generation;

import dev.baton.router.failure.FailureException;
import dev.baton.router.registry.ServedModel;
import dev.baton.router.registry.WorkerDirectory;
import dev.baton.router.session.SessionOrder;
import dev.baton.router.session.Sessions;
import dev.baton.router.text.TextModelException;
import dev.baton.router.text.TextStream;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/**
 * Runs requests of both fronts. {@link #prepare} and {@link #tokenize} compute and may wait for a
 * processor: call them on a virtual thread. Thread-safe.
 */
public final class Generator {

  /** A month: workers count nanoseconds. */
  private static final long MAX_TIMEOUT_MILLIS = TimeUnit.DAYS.toMillis(31);

  /** No vocabulary packs more characters into a token on average: a cheap bound before the work. */
  private static final int CHARS_PER_TOKEN = 256;

  private final WorkerDirectory directory;
  private final Sessions sessions;
  private final long defaultTimeoutMillis;
  private final GenerationObserver observer;
  private final TokenizationCache cache;

  /** Tokenizing holds a carrier thread: never all processors' worth at once. */
  private final Semaphore tokenizing =
      new Semaphore(Math.max(1, Runtime.getRuntime().availableProcessors()));

  public Generator(
      WorkerDirectory directory,
      Sessions sessions,
      long defaultTimeoutMillis,
      GenerationObserver observer) {
    this.directory = directory;
    this.sessions = sessions;
    this.defaultTimeoutMillis = defaultTimeoutMillis;
    this.observer = observer;
    this.cache = new TokenizationCache(observer);
  }

  public WorkerDirectory directory() {
    return directory;
  }

  public Sessions sessions() {
    return sessions;
  }

  /** The models of which a new session of any length could be placed now. */
  public List<ServedModel> ready() {
    return sessions.draining()
        ? List.of()
        : directory.models().stream().filter(model -> directory.pools(model).ready()).toList();
  }

  /**
   * Checks and tokenizes.
   *
   * @throws FailureException what the client shall see
   */
  public PreparedRequest prepare(GenerationRequest request) {
    ServedModel model = directory.model(request.model());
    if (request.timeoutMillis() < 0 || request.timeoutMillis() > MAX_TIMEOUT_MILLIS) {
      throw FailureException.invalid(
          "timeout_millis",
          "timeout_millis: %d (expected: 0 to %d)"
              .formatted(request.timeoutMillis(), MAX_TIMEOUT_MILLIS));
    }
    int[] prompt =
        switch (request.prompt()) {
          case Prompt.Text(String text, boolean addSpecialTokens) ->
              tokenize(model, text, addSpecialTokens);
          case Prompt.Tokens(int[] ids) -> checked(model, "prompt", ids);
          case Prompt.Chat chat -> tokenize(model, chat);
        };
    if (prompt.length == 0) {
      throw FailureException.invalid("prompt", "prompt: no tokens (expected: at least one)");
    }
    GenerationRequest completed =
        new GenerationRequest(
            request.id(),
            model.name(),
            request.prompt(),
            SamplingRules.complete(model, prompt.length, request),
            request.maxTokensField(),
            request.defaultMaxTokens(),
            request.stop(),
            request.skipSpecialTokens(),
            request.timeoutMillis(),
            request.cacheSalt(),
            request.priority());
    return new PreparedRequest(model, prompt, completed);
  }

  /**
   * Starts a continuation; the listener may hear of it before this returns.
   *
   * @param variant several continuations of one request differ in it; the seed moves by it
   * @throws FailureException when no more are taken now
   */
  public Generation start(PreparedRequest prepared, int variant, GenerationListener listener) {
    GenerationRequest request = prepared.request();
    // A chat's answer begins a text of its own; a completion goes on with its prompt.
    int[] continued =
        request.prompt() instanceof Prompt.Chat chat && !chat.continueFinal()
            ? new int[0]
            : prepared.promptTokens();
    TextStream stream =
        prepared.model().text().stream(continued, request.stop(), request.skipSpecialTokens());
    Generation generation = new Generation(prepared, stream, listener, observer);
    var sampling = request.sampling();
    SessionOrder order =
        new SessionOrder(
            request.id() + "-" + HexFormat.of().toHexDigits(ThreadLocalRandom.current().nextInt()),
            prepared.model(),
            prepared.promptTokens(),
            variant == 0
                ? sampling
                : sampling.toBuilder().setSeed(sampling.getSeed() + variant).build(),
            request.timeoutMillis() == 0 ? defaultTimeoutMillis : request.timeoutMillis(),
            request.cacheSalt(),
            request.priority());
    generation.start(sessions.open(order, generation));
    return generation;
  }

  /**
   * Token ids of a text.
   *
   * @throws FailureException when the text is no text or surely too long
   */
  public int[] tokenize(ServedModel model, String text, boolean addSpecialTokens) {
    SamplingRules.checkText("prompt", text);
    return encode(model, text, addSpecialTokens);
  }

  /**
   * Token ids of a chat, as the model's template renders it.
   *
   * @throws FailureException when the template refuses the messages or there is none
   */
  public int[] tokenize(ServedModel model, Prompt.Chat chat) {
    if (!model.text().hasChatTemplate()) {
      throw FailureException.invalid(
          "messages",
          "messages: model " + model.name() + " has no chat template (expected: a prompt)");
    }
    long chars = 0;
    for (var message : chat.input().messages()) {
      if (message.get("content") instanceof String content) {
        chars += content.length();
      }
    }
    checkLength(model, chars);
    String rendered;
    try {
      rendered =
          chat.continueFinal()
              ? ContinuedChat.render(chat.input(), model.text()::renderChat)
              : model.text().renderChat(chat.input());
    } catch (TextModelException e) {
      throw FailureException.invalid(
          "messages", "messages: refused by the chat template: " + e.getMessage());
    }
    SamplingRules.checkText("messages", rendered);
    return encode(model, rendered, false);
  }

  /**
   * The text of token ids, special tokens included.
   *
   * @throws FailureException when an id is none of the model's
   */
  public String detokenize(ServedModel model, int[] ids) {
    return model.text().decode(checked(model, "tokens", ids), false);
  }

  private int[] encode(ServedModel model, String text, boolean addSpecialTokens) {
    checkLength(model, text.length());
    TokenizationCache.Key key =
        new TokenizationCache.Key(model.identity().getFingerprint(), text, addSpecialTokens);
    int[] known = cache.get(key);
    if (known != null) {
      return known;
    }
    tokenizing.acquireUninterruptibly();
    try {
      int[] ids = model.text().encode(text, addSpecialTokens);
      cache.put(key, ids);
      return ids;
    } finally {
      tokenizing.release();
    }
  }

  private static int[] checked(ServedModel model, String field, int[] ids) {
    int vocabulary = model.identity().getVocabularySize();
    for (int i = 0; i < ids.length; i++) {
      if (ids[i] < 0 || ids[i] >= vocabulary) {
        throw FailureException.invalid(
            field, field + "[" + i + "]: " + ids[i] + " (expected: 0 to " + (vocabulary - 1) + ")");
      }
    }
    return ids;
  }

  private static void checkLength(ServedModel model, long chars) {
    if (chars > (long) CHARS_PER_TOKEN * model.contextLength()) {
      throw SamplingRules.tooLong(
          "prompt: "
              + chars
              + " characters (expected: < "
              + model.contextLength()
              + " tokens, the context of model "
              + model.name()
              + ")",
          "prompt");
    }
  }
}
