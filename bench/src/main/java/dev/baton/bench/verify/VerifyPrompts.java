package dev.baton.bench.verify;

import dev.baton.bench.quality.Prompts;
import dev.baton.bench.quality.QualityPlan;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.TreeSet;

/** Chooses what is verified: prompts whose lengths lie on, before and behind every border. */
final class VerifyPrompts {

  private VerifyPrompts() {}

  /**
   * @param longest tokens of a prompt at most
   * @return prompts in order of length, at least one
   */
  static List<int[]> read(VerifyPlan plan, int vocabulary, int longest) throws IOException {
    Path model = plan.decode().modelDirectory();
    QualityPlan.Source source = plan.source();
    if (source != null) {
      return Prompts.read(model, source, vocabulary, longest);
    }
    Random random = new Random(plan.seed());
    int[] text = new int[longest];
    if (Files.isReadable(model.resolve("tokenizer.json"))) {
      List<int[]> texts =
          Prompts.read(model, new QualityPlan.Source.Texts(null), vocabulary, longest);
      int filled = 0;
      for (int i = 0; filled < longest; i = (i + 1) % texts.size()) {
        int[] next = texts.get(i);
        int taken = Math.min(next.length, longest - filled);
        System.arraycopy(next, 0, text, filled, taken);
        filled += taken;
      }
    } else {
      Arrays.setAll(text, i -> random.nextInt(vocabulary));
    }
    List<int[]> prompts = new ArrayList<>();
    for (int length : lengths(plan, longest, random)) {
      int[] prompt = Arrays.copyOf(text, length);
      // No two share a prefix: each is computed and handed over whole.
      prompt[0] = (prompt[0] + prompts.size()) % vocabulary;
      prompts.add(prompt);
    }
    return prompts;
  }

  private static TreeSet<Integer> lengths(VerifyPlan plan, int longest, Random random) {
    TreeSet<Integer> lengths = new TreeSet<>(List.of(1, 2, longest));
    for (int border :
        List.of(plan.prefill().blockTokens(), plan.decode().blockTokens(), longest / 2)) {
      lengths.addAll(List.of(border - 1, border, border + 1));
    }
    for (int i = 0; i < 3; i++) {
      lengths.add(1 + random.nextInt(longest));
    }
    lengths.removeIf(length -> length < 1 || length > longest);
    return lengths;
  }
}
