package dev.baton.engine.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.engine.EngineException;
import dev.baton.engine.checkpoint.ConfigReader;
import dev.baton.engine.checkpoint.ModelConfig;
import dev.baton.engine.checkpoint.TinyModel;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ShardTest {

  @TempDir Path directory;

  @Test
  void ranksCoverEveryWidthWithoutGapOrOverlap() throws IOException {
    ModelConfig config = config(8, 2, 61, 41);
    for (int ranks : new int[] {1, 2, 4, 8}) {
      int inner = 0;
      int vocabulary = 0;
      int queries = 0;
      for (int rank = 0; rank < ranks; rank++) {
        Shard shard = new Shard(config, rank, ranks);
        assertThat(shard.inner().from()).isEqualTo(inner).isEqualTo(rank * 61 / ranks);
        assertThat(shard.vocabulary().from()).isEqualTo(vocabulary);
        assertThat(shard.queries().from()).isEqualTo(queries);
        inner = shard.inner().to();
        vocabulary = shard.vocabulary().to();
        queries = shard.queries().to();
      }
      assertThat(inner).isEqualTo(61);
      assertThat(vocabulary).isEqualTo(41);
      assertThat(queries).isEqualTo(config.heads() * config.headDim());
    }
  }

  @Test
  void neighbouringRanksShareAKvHeadAndOnlyTheFirstCountsAsItsHolder() throws IOException {
    ModelConfig config = config(8, 2, 61, 41);
    int[] heads = new int[8];
    boolean[] first = new boolean[8];
    for (int rank = 0; rank < 8; rank++) {
      Shard shard = new Shard(config, rank, 8);
      assertThat(shard.kvHeads()).isEqualTo(1);
      heads[rank] = shard.kvHeadFrom();
      first[rank] = shard.firstHolder();
    }
    assertThat(heads).containsExactly(0, 0, 0, 0, 1, 1, 1, 1);
    assertThat(first).containsExactly(true, false, false, false, true, false, false, false);
  }

  @ParameterizedTest(name = "{0} heads, {1} KV heads, inner {2}, TP {3}")
  @CsvSource({
    "6, 2, 64, 4, 'tensorParallel: 4 (expected: a divisor of num_attention_heads, 6)'",
    "12, 3, 64, 2, 'tensorParallel: 2 (expected: a divisor or a multiple of num_key_value_heads,"
        + " 3)'",
    "8, 8, 7, 2, 'tensorParallel: 2 (expected: 1, for a width of 7'",
  })
  void refusesACutThatTheModelDoesNotAllow(
      int heads, int kvHeads, int inner, int ranks, String reason) throws IOException {
    ModelConfig config = config(heads, kvHeads, inner, 41);
    Shard.check(config, 1);
    assertThatThrownBy(() -> Shard.check(config, ranks))
        .isInstanceOfSatisfying(
            EngineException.class,
            e -> assertThat(e.kind()).isEqualTo(EngineException.Kind.INVALID))
        .hasMessageContaining(reason);
  }

  private ModelConfig config(int heads, int kvHeads, int inner, int vocabulary) throws IOException {
    return ConfigReader.read(
        new TinyModel()
            .with("num_attention_heads", heads)
            .with("num_key_value_heads", kvHeads)
            .with("head_dim", 6)
            .with("intermediate_size", inner)
            .with("vocab_size", vocabulary)
            .write(directory));
  }
}
