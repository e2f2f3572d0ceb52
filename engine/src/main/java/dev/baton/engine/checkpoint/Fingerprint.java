package dev.baton.engine.checkpoint;

import dev.baton.engine.EngineException;
import dev.baton.engine.Formats;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.TreeSet;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * SHA-256 over everything that decides which KV a token sequence gives: the numerics of this
 * release and of the device, the model's numbers, the dtypes it runs in, tokenizer.json and the
 * weights. Workers exchange KV only when theirs are equal; tensor-parallel degree, block size and
 * the way a checkpoint is cut into shards do not enter. The text is the hash of the parts' hashes,
 * 64 hexadecimal digits, a dot, and the first 6 digits of each part's, so that two texts tell where
 * they part ({@code dev.baton.peer.FingerprintParts} has the names of the parts).
 *
 * <p>Weights of many gigabytes are not hashed whole, which would take longer than loading them: of
 * each tensor enter its name, dtype and shape and, when it is larger than {@value #WHOLE} bytes,
 * only {@value #PAGES} pages of {@value #PAGE} bytes at even distances, the first and the last
 * included. That tells models, fine-tunes and revisions apart; it is no defence against someone who
 * forges a checkpoint on purpose.
 */
public final class Fingerprint {

  /** Changes whenever the arithmetic of the forward pass changes bits. */
  private static final String NUMERICS = "baton-numerics-2";

  private static final int PAGE = 4096;
  private static final int PAGES = 16;
  private static final int WHOLE = PAGE * PAGES;

  /** Bounds the time that a hostile file takes; as much as routers read. */
  private static final long MAX_FILE_BYTES = 128L << 20;

  private static final int PART_DIGITS = 6;

  private final MessageDigest digest = sha256();

  private Fingerprint() {}

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new EngineException(
          EngineException.Kind.INTERNAL, "SHA-256: not in this Java runtime", e);
    }
  }

  /**
   * Takes the fingerprint of a checkpoint that {@link Architecture#check} has passed.
   *
   * @param numerics the device's name of its arithmetic with these weights ({@code
   *     Device.numerics})
   * @param kv name of the dtype that KV has, or of all that it may have
   * @return at most 128 characters, all of them hexadecimal digits but a dot
   */
  public static String of(
      ModelConfig config, Checkpoint checkpoint, String numerics, Formats formats, String kv) {
    List<byte[]> parts =
        List.of(
            part(p -> p.text(NUMERICS + " " + numerics)),
            part(p -> p.text(formats.dtype().toString())),
            part(p -> p.text(formats.weights().toString())),
            part(p -> p.text(kv)),
            part(p -> p.text(canonical(config))),
            part(p -> p.file(checkpoint.directory().resolve("tokenizer.json"))),
            part(
                p ->
                    config
                        .architecture()
                        .tensors(config)
                        .keySet()
                        .forEach(name -> p.tensor(checkpoint.get(name)))));
    MessageDigest whole = sha256();
    StringBuilder ends = new StringBuilder();
    for (byte[] part : parts) {
      whole.update(part);
      ends.append(HexFormat.of().formatHex(part), 0, PART_DIGITS);
    }
    return HexFormat.of().formatHex(whole.digest()) + "." + ends;
  }

  private static byte[] part(Consumer<Fingerprint> content) {
    Fingerprint part = new Fingerprint();
    content.accept(part);
    return part.digest.digest();
  }

  private static String canonical(ModelConfig config) {
    String rope =
        switch (config.ropeScaling()) {
          case RopeScaling.None() -> "default";
          case RopeScaling.Linear(double factor) -> "linear " + factor;
          case RopeScaling.Yarn(double factor, double from, double to, double attention) ->
              "yarn %s %s %s %s".formatted(factor, from, to, attention);
          case RopeScaling.Llama3(double factor, double low, double high, int original) ->
              "llama3 %s %s %s %d".formatted(factor, low, high, original);
        };
    return "%s vocabulary=%d hidden=%d inner=%d layers=%d heads=%d/%d/%d epsilon=%s theta=%s rope=%s biases=%s windows=%s mixture=%s tied=%s"
        .formatted(
            config.architecture().configName(),
            config.vocabularySize(),
            config.hiddenSize(),
            config.intermediateSize(),
            config.layers(),
            config.heads(),
            config.kvHeads(),
            config.headDim(),
            config.normEpsilon(),
            config.ropeTheta(),
            rope,
            config.biases(),
            config.windows(),
            mixture(config.mixture()),
            config.tiedEmbeddings());
  }

  private static String mixture(@Nullable Mixture mixture) {
    return mixture == null
        ? "none"
        : "%d/%d inner=%d normalized=%s layers=%s"
            .formatted(
                mixture.chosen(),
                mixture.experts(),
                mixture.innerSize(),
                mixture.normalized(),
                new TreeSet<>(mixture.layers()));
  }

  private void tensor(CheckpointTensor tensor) {
    text("%s %s %s".formatted(tensor.name(), tensor.dtype(), tensor.shape()));
    MemorySegment data = tensor.data();
    if (data.byteSize() <= WHOLE) {
      digest.update(data.asByteBuffer());
      return;
    }
    long span = data.byteSize() - PAGE;
    for (int page = 0; page < PAGES; page++) {
      long offset = span / (PAGES - 1) * page + span % (PAGES - 1) * page / (PAGES - 1);
      digest.update(data.asSlice(offset, PAGE).asByteBuffer());
    }
  }

  private void file(Path file) {
    if (!Files.isRegularFile(file)) {
      text(file.getFileName() + ": none");
      return;
    }
    try (InputStream in = Files.newInputStream(file)) {
      long size = Files.size(file);
      if (size > MAX_FILE_BYTES) {
        throw new EngineException(
            EngineException.Kind.BAD_MODEL,
            "%s: %d bytes (expected: <= %d)".formatted(file, size, MAX_FILE_BYTES));
      }
      text(file.getFileName() + ": " + size);
      byte[] buffer = new byte[WHOLE];
      for (int read = in.read(buffer); read >= 0; read = in.read(buffer)) {
        digest.update(buffer, 0, read);
      }
    } catch (IOException e) {
      throw new EngineException(
          EngineException.Kind.BAD_MODEL, "%s: cannot be read: %s".formatted(file, e), e);
    }
  }

  /** With its length before it, so that no two sequences of texts run together. */
  private void text(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    digest.update(ByteBuffer.allocate(Integer.BYTES).putInt(bytes.length).flip());
    digest.update(bytes);
  }
}
