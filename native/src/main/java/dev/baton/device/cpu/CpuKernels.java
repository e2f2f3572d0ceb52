package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.baton.device.OutOfDeviceMemoryException;
import dev.baton.device.WeightFormat;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;

/**
 * The C++ kernels of one tier. Names and parameters come from the library itself, which has them
 * from the table in {@code kernels.h}: pointers are passed as addresses, except {@code void*},
 * which is a memory segment that the call keeps alive. Before them stand a team ({@link CpuTeam})
 * and the parts into which it cuts the work. A method here whose types differ from the table's
 * fails at its first call. What the kernels compute is said in the C++ sources; arguments must have
 * been checked. Long because it is one flat list, a method for each kernel.
 */
@SuppressWarnings("restricted") // the one class that calls native code
final class CpuKernels {

  private static final Linker LINKER = Linker.nativeLinker();
  private static final SymbolLookup LIBRARY = CpuDevice.KERNELS.load();

  private static final MethodHandle TIER_COUNT = function("baton_tier_count", true);
  private static final MethodHandle TIER_RUNS = function("baton_tier_runs", true, JAVA_INT);
  private static final List<String> TIERS = names(TIER_COUNT, "baton_tier_name");
  private static final MethodHandle KERNEL_COUNT = function("baton_kernel_count", true);
  private static final List<String> KERNELS = names(KERNEL_COUNT, "baton_kernel_name");
  private static final List<String> PARAMETERS = names(KERNEL_COUNT, "baton_kernel_parameters");
  private static final MethodHandle KERNEL =
      LINKER.downcallHandle(
          symbol("baton_kernel"), FunctionDescriptor.of(ADDRESS, JAVA_INT, JAVA_INT));
  private static final MethodHandle KERNEL_EACH =
      LINKER.downcallHandle(
          symbol("baton_kernel_each"), FunctionDescriptor.of(ADDRESS, JAVA_INT, JAVA_INT));

  /** Any kernel, by its address, with a table of calls. */
  private static final MethodHandle EACH =
      LINKER.downcallHandle(
          FunctionDescriptor.ofVoid(JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT));

  private static final MethodHandle MAP =
      LINKER.downcallHandle(symbol("baton_map"), FunctionDescriptor.of(ADDRESS, JAVA_LONG));
  private static final MethodHandle UNMAP = function("baton_unmap", false, ADDRESS, JAVA_LONG);
  private static final MethodHandle TOUCH = function("baton_touch", false, ADDRESS, JAVA_LONG);

  private static final MethodHandle TEAM_OPEN =
      LINKER.downcallHandle(
          symbol("baton_team_open"),
          FunctionDescriptor.of(JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT));
  private static final MethodHandle TEAM_CLOSE = function("baton_team_close", false, JAVA_LONG);

  private static final MethodHandle TEAM_FORESEE =
      function("baton_team_foresee", false, JAVA_LONG, JAVA_LONG);

  /** No team: the calling thread does all parts. */
  private static final long NOBODY = 0;

  private static final MethodHandle LINEAR = kernel("linear");
  private static final MethodHandle LINEAR_TILES = kernel("linear_tiles");
  private static final MethodHandle ATTENTION = kernel("attention");
  private static final MethodHandle ROPE_STORE = kernel("rope_store");
  private static final MethodHandle RMS_NORM = kernel("rms_norm");
  private static final MethodHandle SILU_MULTIPLY = kernel("silu_multiply");
  private static final MethodHandle ADD = kernel("add");
  private static final MethodHandle GATHER_ROWS = kernel("gather_rows");
  private static final MethodHandle SUM_RANKS = kernel("sum_ranks");
  private static final MethodHandle COMBINE_ROWS = kernel("combine_rows");
  private static final MethodHandle ROW_PEAKS = kernel("row_peaks");
  private static final MethodHandle ROW_EXPONENTIALS = kernel("row_exponentials");
  private static final MethodHandle ROW_BEST = kernel("row_best");
  private static final MethodHandle ROW_WEIGHTS = kernel("row_weights");
  private static final MethodHandle ROW_DRAW = kernel("row_draw");
  private static final MethodHandle ROW_RANKS = kernel("row_ranks");
  private static final MethodHandle CONVERT = kernel("convert");
  private static final MethodHandle PACK_LINEAR = kernel("pack_linear");
  private static final MethodHandle STAGE_INPUTS = kernel("stage_inputs");
  private static final MethodHandle PACK_TILES = kernel("pack_tiles");
  private static final MethodHandle GATHER_PACKED = kernel("gather_packed");
  private static final MethodHandle FIND_UNUSABLE = kernel("find_unusable");
  private static final MethodHandle QUANTIZE_INPUTS = kernel("quantize_inputs");
  private static final MethodHandle LINEAR_INT8 = kernel("linear_int8");
  private static final MethodHandle LINEAR_INT4 = kernel("linear_int4");
  private static final MethodHandle PACK_INT8 = kernel("pack_int8");
  private static final MethodHandle PACK_INT4 = kernel("pack_int4");
  private static final MethodHandle COPY_KV = kernel("copy_kv");
  private static final MethodHandle MULTIPLY_PEAK = kernel("multiply_peak");
  private static final MethodHandle READ_MEMORY = kernel("read_memory");

  private final String tier;
  private final MemorySegment linear;
  private final MemorySegment linearTiles;
  private final MemorySegment attention;
  private final MemorySegment ropeStore;
  private final MemorySegment rmsNorm;
  private final MemorySegment siluMultiply;
  private final MemorySegment add;
  private final MemorySegment gatherRows;
  private final MemorySegment sumRanks;
  private final MemorySegment combineRows;
  private final MemorySegment rowPeaks;
  private final MemorySegment rowExponentials;
  private final MemorySegment rowBest;
  private final MemorySegment rowWeights;
  private final MemorySegment rowDraw;
  private final MemorySegment rowRanks;
  private final MemorySegment convert;
  private final MemorySegment packLinear;
  private final MemorySegment stageInputs;
  private final MemorySegment packTiles;
  private final MemorySegment gatherPacked;
  private final MemorySegment findUnusable;
  private final MemorySegment quantizeInputs;
  private final MemorySegment linearInt8;
  private final MemorySegment linearInt4;
  private final MemorySegment packInt8;
  private final MemorySegment packInt4;
  private final MemorySegment copyKv;
  private final MemorySegment multiplyPeak;
  private final MemorySegment readMemory;

  /**
   * @param tier one of {@link #tiers} that {@link #runs} here
   */
  CpuKernels(String tier) {
    this.tier = tier;
    linear = address("linear");
    linearTiles = address("linear_tiles");
    attention = address("attention");
    ropeStore = address("rope_store");
    rmsNorm = address("rms_norm");
    siluMultiply = address("silu_multiply");
    add = address("add");
    gatherRows = address("gather_rows");
    sumRanks = address("sum_ranks");
    combineRows = address("combine_rows");
    rowPeaks = address("row_peaks");
    rowExponentials = address("row_exponentials");
    rowBest = address("row_best");
    rowWeights = address("row_weights");
    rowDraw = address("row_draw");
    rowRanks = address("row_ranks");
    convert = address("convert");
    packLinear = address("pack_linear");
    stageInputs = address("stage_inputs");
    packTiles = address("pack_tiles");
    gatherPacked = address("gather_packed");
    findUnusable = address("find_unusable");
    quantizeInputs = address("quantize_inputs");
    linearInt8 = address("linear_int8");
    linearInt4 = address("linear_int4");
    packInt8 = address("pack_int8");
    packInt4 = address("pack_int4");
    copyKv = address("copy_kv");
    multiplyPeak = address("multiply_peak");
    readMemory = address("read_memory");
  }

  /**
   * A kernel of this tier that takes a table of calls, for {@link #each}.
   *
   * @param words parameters that the caller gives of each call
   */
  MemorySegment each(String kernel, int words) {
    int number = KERNELS.indexOf(kernel);
    int parameters = number < 0 ? 0 : PARAMETERS.get(number).split(",").length;
    if (parameters != words) {
      throw new IllegalStateException(
          "kernel: %s of %d parameters (expected: one of %s, of %d)"
              .formatted(kernel, parameters, KERNELS, words));
    }
    try {
      return (MemorySegment) KERNEL_EACH.invokeExact(TIERS.indexOf(tier), number);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  /**
   * Many calls of one kernel as one job of the team.
   *
   * @param kernel from {@link #each(String, int)}
   * @param calls address of the parameters of each call, int64 {@code [count][parameters]}:
   *     pointers and integers by value, floats by their bits
   * @param pieces in which each call is done
   */
  void each(MemorySegment kernel, long team, int parts, long calls, int count, int pieces) {
    try {
      EACH.invokeExact(kernel, team, parts, calls, count, pieces);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  /** Names of the tiers in the library, from the slowest to the fastest. */
  static List<String> tiers() {
    return TIERS;
  }

  /** Whether this machine's processor and system can run a tier. */
  static boolean runs(String tier) {
    try {
      return (int) TIER_RUNS.invokeExact(TIERS.indexOf(tier)) != 0;
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  String tier() {
    return tier;
  }

  /**
   * Roughly how many products of one thread by weights of this format take a nanosecond, to tell
   * what is worth sharing and by which parts.
   */
  long productsPerNano(WeightFormat format) {
    boolean matrixUnits = tier.startsWith("amx");
    return switch (format) {
      case FLOAT32 -> 40;
      case BFLOAT16 -> matrixUnits ? 1000 : 60;
      case INT8, INT4 -> matrixUnits ? 1000 : 300;
    };
  }

  /** Zeroed pages, or NULL; see {@code memory.cpp}. */
  static MemorySegment map(long bytes) {
    try {
      return (MemorySegment) MAP.invokeExact(bytes);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  static void unmap(MemorySegment pages) {
    try {
      UNMAP.invokeExact(pages, pages.byteSize());
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  /**
   * Finds the pages of memory ahead of its use, when processors are idle; see {@code memory.cpp}.
   */
  static void touch(MemorySegment memory) {
    try {
      TOUCH.invokeExact(memory, memory.byteSize());
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  /**
   * @param helpers threads beside the rank's own
   * @param spin whether a wait may spin before it sleeps
   */
  static long openTeam(int rank, int helpers, boolean spin) {
    try {
      long team = (long) TEAM_OPEN.invokeExact(rank, helpers, spin ? 1 : 0);
      if (team == 0) {
        throw new OutOfDeviceMemoryException("team: the system refuses memory for its threads");
      }
      return team;
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  static void foresee(long team, long words) {
    try {
      TEAM_FORESEE.invokeExact(team, words);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  static void closeTeam(long team) {
    try {
      TEAM_CLOSE.invokeExact(team);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void linear(
      long team,
      int parts,
      long products,
      int count,
      long x,
      long xStride,
      int rows,
      int inputs,
      long borders,
      int ranges) {
    try {
      LINEAR.invokeExact(
          linear, team, parts, products, count, x, xStride, rows, inputs, borders, ranges);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void linearTiles(
      long team,
      int parts,
      long products,
      int count,
      long staged,
      int rows,
      long borders,
      int ranges) {
    try {
      LINEAR_TILES.invokeExact(
          linearTiles, team, parts, products, count, staged, rows, borders, ranges);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void attention(
      long team,
      int parts,
      long out,
      long outStride,
      long q,
      long qStride,
      long layer,
      int dtype,
      int blockTokens,
      int kvHeads,
      int headDim,
      int heads,
      long positions,
      long sequences,
      long tables,
      int tableStride,
      int tokens,
      float scale,
      int window) {
    try {
      ATTENTION.invokeExact(
          attention,
          team,
          parts,
          out,
          outStride,
          q,
          qStride,
          layer,
          dtype,
          blockTokens,
          kvHeads,
          headDim,
          heads,
          positions,
          sequences,
          tables,
          tableStride,
          tokens,
          scale,
          window);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void ropeStore(
      long team,
      int parts,
      long q,
      long qStride,
      long k,
      long kStride,
      long v,
      long vStride,
      long cosines,
      long cosinesStride,
      long sines,
      long sinesStride,
      long layer,
      int dtype,
      int blockTokens,
      int kvHeads,
      int headDim,
      int heads,
      long positions,
      long sequences,
      long tables,
      int tableStride,
      int tokens) {
    try {
      ROPE_STORE.invokeExact(
          ropeStore,
          team,
          parts,
          q,
          qStride,
          k,
          kStride,
          v,
          vStride,
          cosines,
          cosinesStride,
          sines,
          sinesStride,
          layer,
          dtype,
          blockTokens,
          kvHeads,
          headDim,
          heads,
          positions,
          sequences,
          tables,
          tableStride,
          tokens);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void rmsNorm(
      long team,
      int parts,
      long out,
      long outStride,
      long x,
      long xStride,
      long weight,
      int group,
      float epsilon,
      int rows,
      int width) {
    try {
      RMS_NORM.invokeExact(
          rmsNorm, team, parts, out, outStride, x, xStride, weight, group, epsilon, rows, width);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void siluMultiply(
      long team,
      int parts,
      long out,
      long outStride,
      long gate,
      long gateStride,
      long up,
      long upStride,
      int rows,
      int width) {
    try {
      SILU_MULTIPLY.invokeExact(
          siluMultiply, team, parts, out, outStride, gate, gateStride, up, upStride, rows, width);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void add(long team, int parts, long x, long xStride, long y, long yStride, int rows, int width) {
    try {
      ADD.invokeExact(add, team, parts, x, xStride, y, yStride, rows, width);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void gatherRows(
      long team,
      int parts,
      long out,
      long outStride,
      long table,
      int dtype,
      long tableStride,
      long indices,
      int rows,
      int width) {
    try {
      GATHER_ROWS.invokeExact(
          gatherRows, team, parts, out, outStride, table, dtype, tableStride, indices, rows, width);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void sumRanks(
      long team, int parts, long addresses, long strides, int ranks, int rows, int from, int to) {
    try {
      SUM_RANKS.invokeExact(sumRanks, team, parts, addresses, strides, ranks, rows, from, to);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void combineRows(
      long team,
      int parts,
      long out,
      long outStride,
      long x,
      long xStride,
      long slots,
      long weights,
      int choices,
      int rows,
      int width) {
    try {
      COMBINE_ROWS.invokeExact(
          combineRows,
          team,
          parts,
          out,
          outStride,
          x,
          xStride,
          slots,
          weights,
          choices,
          rows,
          width);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void convert(
      long out, int outDtype, MemorySegment in, int inDtype, long inStride, int rows, int columns) {
    try {
      CONVERT.invokeExact(convert, NOBODY, 1, out, outDtype, in, inDtype, inStride, rows, columns);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void packLinear(
      long packed,
      MemorySegment in,
      int inDtype,
      long inStride,
      int outputs,
      int inputs,
      int first,
      int step) {
    try {
      PACK_LINEAR.invokeExact(
          packLinear, NOBODY, 1, packed, in, inDtype, inStride, outputs, inputs, first, step);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void stageInputs(
      long team,
      int parts,
      long staged,
      long x,
      long xStride,
      long norm,
      float epsilon,
      long borders,
      int ranges,
      int rows) {
    try {
      STAGE_INPUTS.invokeExact(
          stageInputs, team, parts, staged, x, xStride, norm, epsilon, borders, ranges, rows);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void packTiles(
      long packed,
      MemorySegment in,
      int inDtype,
      long inStride,
      long borders,
      int ranges,
      int outputs,
      int first,
      int step) {
    try {
      PACK_TILES.invokeExact(
          packTiles, NOBODY, 1, packed, in, inDtype, inStride, borders, ranges, outputs, first,
          step);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void gatherPacked(
      long team,
      int parts,
      long out,
      long outStride,
      long shards,
      int format,
      int inputs,
      long indices,
      int rows) {
    try {
      GATHER_PACKED.invokeExact(
          gatherPacked, team, parts, out, outStride, shards, format, inputs, indices, rows);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void findUnusable(
      long found, MemorySegment in, int inDtype, long inStride, int rows, int columns) {
    try {
      FIND_UNUSABLE.invokeExact(
          findUnusable, NOBODY, 1, found, in, inDtype, inStride, rows, columns);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void quantizeInputs(
      long team,
      int parts,
      long staged,
      long x,
      long xStride,
      long norm,
      float epsilon,
      long borders,
      int ranges,
      int groups,
      int rows) {
    try {
      QUANTIZE_INPUTS.invokeExact(
          quantizeInputs,
          team,
          parts,
          staged,
          x,
          xStride,
          norm,
          epsilon,
          borders,
          ranges,
          groups,
          rows);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void linearInt8(
      long team,
      int parts,
      long products,
      int count,
      long staged,
      int rows,
      long borders,
      int ranges) {
    try {
      LINEAR_INT8.invokeExact(
          linearInt8, team, parts, products, count, staged, rows, borders, ranges);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void linearInt4(
      long team,
      int parts,
      long products,
      int count,
      long staged,
      int rows,
      long borders,
      int ranges) {
    try {
      LINEAR_INT4.invokeExact(
          linearInt4, team, parts, products, count, staged, rows, borders, ranges);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void packInt8(
      long packed,
      long scales,
      MemorySegment in,
      int inDtype,
      long inStride,
      int columns,
      int column,
      long borders,
      int ranges,
      int outputs,
      int first,
      int step) {
    try {
      PACK_INT8.invokeExact(
          packInt8, NOBODY, 1, packed, scales, in, inDtype, inStride, columns, column, borders,
          ranges, outputs, first, step);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void packInt4(
      long packed,
      long scales,
      MemorySegment in,
      int inDtype,
      long inStride,
      int columns,
      int column,
      long borders,
      int ranges,
      int outputs,
      int first,
      int step) {
    try {
      PACK_INT4.invokeExact(
          packInt4, NOBODY, 1, packed, scales, in, inDtype, inStride, columns, column, borders,
          ranges, outputs, first, step);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void copyKv(
      long layer,
      int dtype,
      int blockTokens,
      int kvHeads,
      int headDim,
      MemorySegment table,
      int head,
      int heads,
      int tokenFrom,
      int tokenTo,
      MemorySegment slab,
      int slabDtype,
      long slabHeadBytes,
      int values,
      int toSlab) {
    try {
      COPY_KV.invokeExact(
          copyKv,
          NOBODY,
          1,
          layer,
          dtype,
          blockTokens,
          kvHeads,
          headDim,
          table,
          head,
          heads,
          tokenFrom,
          tokenTo,
          slab,
          slabDtype,
          slabHeadBytes,
          values,
          toSlab);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void multiplyPeak(int arithmetic, long rounds, MemorySegment done) {
    try {
      MULTIPLY_PEAK.invokeExact(multiplyPeak, NOBODY, 1, arithmetic, rounds, done);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void readMemory(MemorySegment memory, long bytes, int streams, MemorySegment done) {
    try {
      READ_MEMORY.invokeExact(readMemory, NOBODY, 1, memory, bytes, streams, done);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void rowPeaks(long team, int parts, long peaks, long logits, int width, int rows) {
    try {
      ROW_PEAKS.invokeExact(rowPeaks, team, parts, peaks, logits, width, rows);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void rowExponentials(
      long team, int parts, long sums, long logits, int width, long views, int count) {
    try {
      ROW_EXPONENTIALS.invokeExact(rowExponentials, team, parts, sums, logits, width, views, count);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void rowBest(long team, int parts, long best, long peaks, long logits, int width, int rows) {
    try {
      ROW_BEST.invokeExact(rowBest, team, parts, best, peaks, logits, width, rows);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void rowWeights(long team, int parts, long sums, long logits, int width, long draws, int count) {
    try {
      ROW_WEIGHTS.invokeExact(rowWeights, team, parts, sums, logits, width, draws, count);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void rowDraw(
      long team,
      int parts,
      long tokens,
      long logits,
      long peaks,
      int width,
      long sums,
      long draws,
      int count,
      long scratch) {
    try {
      ROW_DRAW.invokeExact(
          rowDraw, team, parts, tokens, logits, peaks, width, sums, draws, count, scratch);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  void rowRanks(
      long team,
      int parts,
      long ids,
      long reached,
      long logits,
      long peaks,
      int width,
      long rankings,
      int count,
      int most,
      long scratch) {
    try {
      ROW_RANKS.invokeExact(
          rowRanks, team, parts, ids, reached, logits, peaks, width, rankings, count, most,
          scratch);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  private MemorySegment address(String kernel) {
    try {
      return (MemorySegment) KERNEL.invokeExact(TIERS.indexOf(tier), KERNELS.indexOf(kernel));
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  /** A handle whose first argument is the address of the kernel in the caller's tier. */
  private static MethodHandle kernel(String name) {
    int index = KERNELS.indexOf(name);
    if (index < 0) {
      throw new IllegalStateException("kernel: %s (expected: one of %s)".formatted(name, KERNELS));
    }
    String list = PARAMETERS.get(index);
    Stream<MemoryLayout> teamAndParts = Stream.of(JAVA_LONG, JAVA_INT);
    MemoryLayout[] layouts =
        Stream.concat(
                teamAndParts,
                Arrays.stream(list.substring(1, list.length() - 1).split(","))
                    .map(parameter -> layout(parameter.strip())))
            .toArray(MemoryLayout[]::new);
    return LINKER.downcallHandle(FunctionDescriptor.ofVoid(layouts));
  }

  private static MemoryLayout layout(String parameter) {
    if (parameter.contains("void*")) {
      return ADDRESS;
    }
    if (parameter.contains("*") || parameter.startsWith("int64_t ")) {
      return JAVA_LONG;
    }
    if (parameter.startsWith("int32_t ")) {
      return JAVA_INT;
    }
    if (parameter.startsWith("float ")) {
      return JAVA_FLOAT;
    }
    throw new IllegalStateException(
        "parameter: %s (expected: a pointer, int32_t, int64_t or float)".formatted(parameter));
  }

  private static List<String> names(MethodHandle count, String nameFunction) {
    MethodHandle name =
        LINKER.downcallHandle(symbol(nameFunction), FunctionDescriptor.of(ADDRESS, JAVA_INT));
    List<String> names = new ArrayList<>();
    try {
      int n = (int) count.invokeExact();
      for (int i = 0; i < n; i++) {
        MemorySegment string = (MemorySegment) name.invokeExact(i);
        names.add(string.reinterpret(Long.MAX_VALUE).getString(0));
      }
    } catch (Throwable e) {
      throw unexpected(e);
    }
    return List.copyOf(names);
  }

  private static MethodHandle function(
      String name, boolean returnsInt, MemoryLayout... parameters) {
    return LINKER.downcallHandle(
        symbol(name),
        returnsInt
            ? FunctionDescriptor.of(JAVA_INT, parameters)
            : FunctionDescriptor.ofVoid(parameters));
  }

  private static MemorySegment symbol(String name) {
    return LIBRARY
        .find(name)
        .orElseThrow(
            () ->
                new IllegalStateException("symbol: %s (expected: in the library)".formatted(name)));
  }

  /** Kernels throw nothing; what arrives here comes from the call's arguments. */
  private static RuntimeException unexpected(Throwable e) {
    if (e instanceof RuntimeException exception) {
      return exception;
    }
    if (e instanceof Error error) {
      throw error;
    }
    return new IllegalStateException(e);
  }
}
