package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.baton.device.Norm;
import dev.baton.device.Tensor;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * The products of one rank: makes bfloat16 of the inputs, once for all products of a call, and
 * picks the kernel by the number of rows; all give the same bits, but NVIDIA's where it was asked
 * for. Where an earlier operation has left its result in bfloat16 too, that is taken. Belongs to
 * the rank's thread.
 */
final class Products {

  static final int STORED = 0;
  static final int ADDED = 1;
  static final int GATED = 2;

  /** Products of one launch. */
  static final int MOST = 4;

  private static final int STRUCT_BYTES = 264;
  private static final int PRODUCT_BYTES = 56;

  private static final int FEW = 8;
  private static final int SOME = 16;

  /** Up to so many rows, ranges are summed side by side, because tiles alone leave GPUs idle. */
  private static final int MANY = 128;

  private static final int MANY_ROWS = 128;

  /** More rows than any recorded step has, from which on the library takes plain products. */
  static final int LIBRARY_ROWS = 257;

  /** Rows of a gate and what it lets through that are multiplied before they meet. */
  private static final int GATE_ROWS = 128;

  /** Slots of an expert, on average, up to which they are taken eight at a time. */
  private static final int FEW_SLOTS = 4;

  private static final int SPLIT_ROWS = 64;

  /** Tiles of weight that a block takes. */
  private static final int SPLIT_TILES = 8;

  private static final int MANY_TILES = 16;
  private static final int BLOCK = 256;
  private static final int SPLIT_SHARED = 49_152;
  private static final int MANY_SHARED = 98_304;

  /** Bounds the workspace of sums that are not yet added. */
  static final long MOST_PARTIAL_BYTES = 128L << 20;

  private static final int WARP = 32;
  private static final int NORM_SHARED = 128;
  private static final int NARROW = 256;

  private final Launch launch;
  private final Scratch prepared;
  private final Scratch carried;
  private final Scratch partials;

  private final MemorySegment struct = java.lang.foreign.Arena.ofAuto().allocate(STRUCT_BYTES, 8);

  /** What sums may take; those that would take more are by the kernel that needs none. */
  private long mostPartials = MOST_PARTIAL_BYTES;

  private int count;
  private int tiles;

  /** The tensor whose rows {@link #carried} has in bfloat16, and how; 0 = none. */
  private long carriedTensor;

  private @Nullable Packing carriedPacking;

  /** NVIDIA's products; null = all are our own. */
  private final @Nullable CublasLt library;

  private final Scratch workspace;
  private final Tensor[] outs = new Tensor[MOST];
  private final @Nullable Tensor[] biases = new @Nullable Tensor[MOST];
  private final long[] weights = new long[MOST];

  /**
   * @param library for products of many rows; closed by its owner
   */
  Products(CudaGpu gpu, Launch launch, @Nullable CublasLt library) {
    this.launch = launch;
    this.library = library;
    workspace = new Scratch(gpu, "workspace of cuBLASLt");
    prepared = new Scratch(gpu, "inputs of products");
    carried = new Scratch(gpu, "inputs of products");
    partials = new Scratch(gpu, "sums of products");
  }

  /** Takes all memory that steps of these sizes need. */
  void prepare(StepSizes sizes) {
    prepared.address(sizes.inputs());
    carried.address(sizes.inputs());
    partials.address(sizes.sums());
    mostPartials = sizes.sums();
    if (library != null) {
      workspace.address(sizes.library());
    }
  }

  static int normBlock(int elements) {
    return elements <= NARROW ? WARP : BLOCK;
  }

  static int normShared() {
    return NORM_SHARED;
  }

  void begin() {
    count = 0;
    tiles = 0;
  }

  /**
   * @param weightTiles of sixteen rows of weight
   * @param rounded where a gated result goes in bfloat16 too; 0 = nowhere
   */
  void add(
      long weight,
      int outputs,
      int weightTiles,
      Tensor out,
      @Nullable Tensor bias,
      @Nullable Tensor upBias,
      int mode,
      long rounded) {
    long at = (long) count * PRODUCT_BYTES;
    struct.set(JAVA_LONG, at, weight);
    struct.set(JAVA_LONG, at + 8, bias == null ? 0 : bias.address());
    struct.set(JAVA_LONG, at + 16, upBias == null ? 0 : upBias.address());
    struct.set(JAVA_LONG, at + 24, out.address());
    struct.set(JAVA_LONG, at + 32, rounded);
    struct.set(JAVA_INT, at + 40, outputs);
    struct.set(JAVA_INT, at + 44, Math.toIntExact(out.columns()));
    struct.set(JAVA_INT, at + 48, tiles);
    struct.set(JAVA_INT, at + 52, mode);
    outs[count] = out;
    biases[count] = bias;
    weights[count] = weight;
    count++;
    tiles += weightTiles;
  }

  /**
   * Multiplies all that was added.
   *
   * @param inputs of all of them
   * @param next how a gated result lies in bfloat16; any where none does
   * @param x inputs in bfloat16, as {@link #inputs} gives them
   */
  void run(Packing inputs, Packing next, long x, Rows rows) {
    describe(inputs, next);
    int grid = rows.grid();
    CublasLt theirs = library;
    if (theirs != null && grid >= LIBRARY_ROWS) {
      for (int i = 0; i < count; i++) {
        if (struct.get(JAVA_INT, (long) i * PRODUCT_BYTES + 52) == GATED) {
          gated(theirs, inputs, i, x, rows);
        } else {
          plain(theirs, inputs, i, x, rows);
        }
      }
      return;
    }
    long partialBytes = partialBytes(inputs.ranges(), tiles, grid);
    if (grid <= SOME) {
      int few = grid <= FEW ? FEW : SOME;
      begin(grid <= FEW ? "linear_few_8" : "linear_few_16")
          .address(x)
          .address(rows.address())
          .run(tiles, WARP * inputs.ranges(), inputs.ranges() * few * 64);
    } else if (grid <= MANY && partialBytes <= mostPartials) {
      long sums = partials.address(partialBytes);
      int groups = Math.ceilDiv(grid, SPLIT_ROWS);
      begin("linear_split")
          .address(x)
          .address(sums)
          .address(rows.address())
          .run(Math.ceilDiv(tiles, SPLIT_TILES), groups, inputs.ranges(), BLOCK, SPLIT_SHARED);
      begin("linear_join").address(sums).address(rows.address()).run(tiles, groups, 1, BLOCK, 0);
    } else {
      begin("linear_many")
          .address(x)
          .address(rows.address())
          .run(
              Math.ceilDiv(tiles, MANY_TILES),
              Math.ceilDiv(grid, MANY_ROWS),
              1,
              BLOCK,
              MANY_SHARED);
    }
  }

  private void plain(CublasLt theirs, Packing inputs, int which, long x, Rows rows) {
    Tensor out = outs[which];
    int outputs = struct.get(JAVA_INT, (long) which * PRODUCT_BYTES + 40);
    int pitch = Math.toIntExact(out.columns());
    boolean add = struct.get(JAVA_INT, (long) which * PRODUCT_BYTES + 52) == ADDED;
    multiply(theirs, weights[which], outputs, x, rows.grid(), inputs, out.address(), pitch, add);
    Tensor bias = biases[which];
    if (bias != null) {
      launch
          .of("add")
          .address(out.address())
          .number(pitch)
          .address(bias.address())
          .number(0)
          .address(rows.address())
          .number(outputs)
          .run(Math.ceilDiv(outputs, BLOCK), rows.grid(), 1, BLOCK, 0);
    }
  }

  /** Some rows at a time, so that what is not yet gated fits the workspace of sums. */
  private void gated(CublasLt theirs, Packing inputs, int which, long x, Rows rows) {
    int wide = tiles * CudaLinearWeight.TILE;
    int most =
        (int) Math.max(GATE_ROWS, MOST_PARTIAL_BYTES / Float.BYTES / wide / GATE_ROWS * GATE_ROWS);
    long sums = partials.address(Math.min((long) most, rows.grid()) * wide * Float.BYTES);
    for (int from = 0; from < rows.grid(); from += most) {
      int some = Math.min(most, rows.grid() - from);
      multiply(
          theirs, weights[which], wide, x + inputs.bytes(from), some, inputs, sums, wide, false);
      begin("gate_sums")
          .address(sums)
          .number(wide)
          .number(from)
          .address(rows.address())
          .run(Math.ceilDiv(wide / 2, BLOCK), some, 1, BLOCK, 0);
    }
  }

  private void multiply(
      CublasLt theirs,
      long weight,
      int outputs,
      long x,
      int rows,
      Packing inputs,
      long out,
      int pitch,
      boolean add) {
    theirs.multiply(
        weight,
        outputs,
        x,
        rows,
        inputs.pitch(),
        out,
        pitch,
        add,
        workspace.address(CublasLt.WORKSPACE_BYTES),
        Address.of(launch.stream()));
  }

  /**
   * As {@link #run(Packing, Packing, long, Rows)}, of every slot by the weight of its expert.
   *
   * @param weights where the experts' weights are told, on the GPU
   */
  void run(Packing inputs, Packing next, long x, Rows slots, CudaRouting routing, long weights) {
    describe(inputs, next);
    int grid = slots.grid();
    boolean few = grid <= FEW_SLOTS * routing.experts();
    MemorySegment to =
        launch
            .of(few ? "linear_routed_few" : "linear_routed_many")
            .struct(STRUCT_BYTES + Long.BYTES);
    to.copyFrom(struct);
    to.set(JAVA_LONG, STRUCT_BYTES, weights);
    launch.address(x);
    routing.write(launch.struct(CudaRouting.BYTES));
    if (few) {
      launch.run(
          tiles,
          Math.min(grid, routing.experts()),
          1,
          WARP * inputs.ranges(),
          inputs.ranges() * FEW * 64);
    } else {
      launch.run(
          Math.ceilDiv(tiles, MANY_TILES),
          Math.min(grid, routing.experts() + grid / MANY_ROWS),
          1,
          BLOCK,
          MANY_SHARED);
    }
  }

  private void describe(Packing inputs, Packing next) {
    struct.set(JAVA_INT, 224, count);
    struct.set(JAVA_INT, 228, tiles);
    next.write(struct.asSlice(232, Packing.BYTES));
    struct.set(JAVA_INT, 256, inputs.ranges());
    struct.set(JAVA_INT, 260, inputs.width());
  }

  private static long partialBytes(int ranges, int tiles, int rows) {
    return (long) ranges
        * tiles
        * CudaLinearWeight.TILE
        * Math.ceilDiv(rows, SPLIT_ROWS)
        * SPLIT_ROWS
        * Float.BYTES;
  }

  private Launch begin(String kernel) {
    launch.of(kernel).struct(STRUCT_BYTES).copyFrom(struct);
    return launch;
  }

  /** The inputs in bfloat16, normed first if there is a norm. */
  long inputs(Tensor x, @Nullable Norm norm, Packing packing, Rows rows) {
    if (norm == null && carriedTensor == x.address() && packing.equals(carriedPacking)) {
      return carried.address(0);
    }
    long to = prepared.address(packing.bytes(ceil(rows.grid())));
    launch
        .of("prepare")
        .address(to)
        .address(x.address())
        .number(Math.toIntExact(x.columns()))
        .address(norm == null ? 0 : norm.weight().address())
        .number(norm == null ? 0f : norm.epsilon())
        .address(rows.address());
    packing.write(launch.struct(Packing.BYTES));
    launch.run(rows.grid(), normBlock(packing.inputs()), NORM_SHARED);
    return to;
  }

  /**
   * Where the operation that writes {@code out} puts the same in bfloat16, for the product that
   * comes next.
   *
   * @param packing of that product's inputs; null = no such product is known yet, and 0 is returned
   */
  long carry(Tensor out, @Nullable Packing packing, Rows rows) {
    changed(out);
    if (packing == null) {
      return 0;
    }
    carriedTensor = out.address();
    carriedPacking = packing;
    return carried.address(packing.bytes(ceil(rows.grid())));
  }

  /** A tensor is written: what was carried of it holds no longer. */
  void changed(Tensor out) {
    if (carriedTensor == out.address()) {
      carriedTensor = 0;
    }
  }

  /** Kernels read inputs in tiles of rows, of which the last may be short; never beyond this. */
  private static long ceil(int rows) {
    return Math.ceilDiv(rows, SOME) * (long) SOME;
  }
}
