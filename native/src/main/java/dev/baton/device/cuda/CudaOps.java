package dev.baton.device.cuda;

import static dev.baton.device.DType.FLOAT32;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.baton.device.GatedWeight;
import dev.baton.device.KvShape;
import dev.baton.device.LinearWeight;
import dev.baton.device.Norm;
import dev.baton.device.Projection;
import dev.baton.device.StepBatch;
import dev.baton.device.Tensor;
import dev.baton.device.TokenChoice;
import dev.baton.device.host.CheckedOps;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import jcuda.driver.CUgraphExec;
import org.jspecify.annotations.Nullable;

/**
 * The ops of one rank on its GPU: arguments, once checked, become launches on the rank's stream.
 *
 * <p><b>Passes.</b> Within {@link #run} the number of rows comes from the batch, which lies on the
 * GPU, so that a pass that was recorded for a batch of some size serves every smaller one. Which
 * rows are meant follows from the tensors: what {@link #gatherLogitRows} has written has logit
 * rows, what {@link #gatherRouted} has written has slots, all else has tokens. Steps that only
 * decode are recorded once for each power of two of tokens and of blocks, and replayed. Outside of
 * a pass every call brings its own number of rows.
 *
 * <p>Long, because it is one flat list: what each operation comes to.
 */
final class CudaOps
    extends CheckedOps<CudaLinearWeight, CudaGatedWeight, CudaKvCache, CudaStepBatch, CudaRouting> {

  /** Steps of more tokens gain nothing from being recorded. */
  private static final int MOST_RECORDED = 256;

  /** Numbers of rows of calls outside of passes that may be under way together. */
  private static final int COUNTS = 1024;

  private static final int BLOCK = 256;
  private static final int ROW_BLOCK = 128;
  private static final int WARP = 32;

  /** Of a grid's second dimension; kernels that may have more rows go on from there. */
  private static final int MOST_GRID = 65_535;

  /** Positions that one block of attention over single tokens takes. */
  private static final int SPLIT = StepSizes.SPLIT;

  /** Query rows of a block of attention over runs, and heads of one over single tokens. */
  private static final int RUN_ROWS = 128;

  private static final int RUN = 64;
  private static final int GROUP = 16;

  /** Bytes of shared memory of both, for each element of a head and beside. */
  private static final int SHARED_A_DIM = 512;

  private static final int RUNS_SHARED = 2048;

  /** Of the widest heads, results of runs that registers do not hold. */
  private static final int WIDEST_RUNS_SHARED = 28_672;

  private static final int SINGLES_SHARED = 5376;

  /** The widest head that attention has a kernel for. */
  static final int MAX_HEAD_DIM = 128;

  private final CudaGpu gpu;
  private final CudaDriver driver;
  private final CudaReduction reduction;
  private final boolean graphs;
  private final Launch launch;
  private final @Nullable CublasLt library;
  private final Products products;
  private final Scratch attention;
  private final Scratch image;
  private final MemorySegment counts;
  private int nextCount;

  private long imageAt;
  private @Nullable CudaStepBatch uploaded;
  private long uploadedVersion;

  /** The batch of the pass in progress. */
  private @Nullable CudaStepBatch pass;

  /** Rows of the grids of the pass: the batch's own, or those that it is recorded for. */
  private int passTokens;

  private int passLogitRows;

  /** Tensors of the pass whose rows are not tokens. */
  private long logitTensor;

  private long logitResult;
  private final Map<Long, CudaRouting> slotTensors = new HashMap<>();

  /** What the product that reads a tensor takes, as an earlier step has shown. */
  private final Map<Long, Packing> readers = new HashMap<>();

  /** Room for the tables of all layers' experts; on the host, what is brought there. */
  private MemorySegment tables = MemorySegment.NULL;

  private MemorySegment tablesOnHost = MemorySegment.NULL;
  private long tablesTaken;

  /** By identity: a layer's list of experts is the same in every step. */
  private final Map<Object, Long> expertTables = new IdentityHashMap<>();

  /** What is launched follows from these alone. */
  private record Recorded(int tokens, int span, boolean logits, Runnable program, int choice) {}

  private final Map<Recorded, CUgraphExec> recorded = new HashMap<>();
  private boolean warm;

  /** Chooses tokens at the ends of passes; null = nobody has asked for that. */
  private @Nullable CudaTokenChoice choice;

  /** What ranks meet with before tokens are chosen: a sum of nothing. */
  private final Tensor meeting;

  CudaOps(CudaGpu gpu, CudaReduction reduction, int rank, int ranks, CudaOptions options) {
    super(
        rank,
        ranks,
        new Kinds<>(
            CudaLinearWeight.class,
            CudaGatedWeight.class,
            CudaKvCache.class,
            CudaStepBatch.class,
            CudaRouting.class));
    this.gpu = gpu;
    this.driver = gpu.driver();
    this.reduction = reduction;
    this.graphs = options.graphs();
    launch = new Launch(gpu, gpu.stream());
    gpu.bind();
    library =
        options.library()
            ? CublasLt.open(
                options.emulated(),
                "--products cublaslt; products by kernels of our own need no library")
            : null;
    products = new Products(gpu, launch, library);
    attention = new Scratch(gpu, "attention");
    image = new Scratch(gpu, "step batch");
    counts = gpu.allocate((long) COUNTS * Integer.BYTES, "numbers of rows");
    meeting = new Tensor(FLOAT32, 1, 1, gpu.allocate(Float.BYTES, "meeting of ranks"));
  }

  /** Takes all memory that steps of the planned shape need, before the first one. */
  void prepare(StepSizes sizes) {
    products.prepare(sizes);
    attention.address(sizes.attention());
    image.address(sizes.image());
    if (sizes.tables() > 0) {
      tables = gpu.allocate(sizes.tables(), "tables of experts");
      tablesOnHost = gpu.pinned(sizes.tables());
    }
  }

  @Override
  public void run(StepBatch batch, Runnable program) {
    CudaStepBatch own = sealed(batch);
    gpu.bind();
    upload(own);
    slotTensors.clear();
    logitTensor = 0;
    logitResult = 0;
    pass = own;
    try {
      if (graphs && warm && own.runs() == 0 && own.tokens() <= MOST_RECORDED) {
        replay(own, program);
      } else {
        passTokens = own.tokens();
        passLogitRows = own.logitRows();
        program.run();
        warm = true;
      }
      driver.synchronize(launch.stream());
      reduction.throwIfAborted();
    } finally {
      pass = null;
    }
  }

  private void replay(CudaStepBatch batch, Runnable program) {
    int tokens = Math.min(Integer.highestOneBit(2 * batch.tokens() - 1), batch.maxTokens());
    Recorded key =
        new Recorded(tokens, batch.span(), batch.logitRows() > 0, program, variant(batch));
    CUgraphExec graph = recorded.get(key);
    if (graph == null) {
      passTokens = tokens;
      passLogitRows = batch.logitRows() > 0 ? tokens : 0;
      graph = record(program);
      recorded.put(key, graph);
      driver.upload(graph, launch.stream());
      driver.synchronize(launch.stream());
      // A driver that makes a graph may wait for kernels, and kernels of a rank wait for the
      // others:
      // nobody launches before all have made theirs.
      reduction.meetOnHost(rank());
    }
    driver.launch(graph, launch.stream());
  }

  private CUgraphExec record(Runnable program) {
    driver.beginCapture(launch.stream());
    boolean whole = false;
    try {
      program.run();
      whole = true;
    } finally {
      if (!whole) {
        driver.dropCapture(launch.stream());
      }
    }
    return driver.endCapture(launch.stream());
  }

  /** Names what the choice launches for the batch. */
  private int variant(CudaStepBatch batch) {
    return choice == null ? 0 : choice.variant(batch.logitRows());
  }

  /** From now on passes may end with this choice. The rank rests. */
  void open(CudaTokenChoice own) {
    choice = own;
  }

  @Override
  public void choose(TokenChoice given, Tensor logits, int count) {
    CudaTokenChoice own = choice;
    CudaStepBatch batch = pass;
    if (own == null || own != given || batch == null) {
      throw new IllegalArgumentException(
          "choice: %s (expected: the device's own, within a pass)".formatted(given));
    }
    requireRows(count, batch.logitRows(), "logit rows");
    Rows rows = logitRows(batch);
    if (ranks() > 1) {
      // All ranks' columns are there when all have come here.
      reduction.launch(launch, rank(), meeting, meeting, null, false, rows, 0);
    }
    if (rank() == 0) {
      own.launch(launch, logits.address(), rows, variant(batch));
    }
  }

  /** Steps that were recorded. */
  int recordedSteps() {
    return recorded.size();
  }

  /** Frees what was recorded; the stream rests. */
  void close() {
    gpu.bind();
    recorded.values().forEach(driver::destroy);
    recorded.clear();
    if (library != null) {
      library.close();
    }
  }

  /** Waits until all that was called has been done. */
  void await() {
    gpu.bind();
    driver.synchronize(launch.stream());
  }

  private void upload(CudaStepBatch batch) {
    if (uploaded == batch && uploadedVersion == batch.version()) {
      return;
    }
    imageAt =
        image.address(
            CudaStepBatch.bytes(batch.maxTokens(), batch.maxSequences(), batch.maxBlocks()));
    driver.upload(imageAt, batch.used(), launch.stream());
    uploaded = batch;
    uploadedVersion = batch.version();
  }

  /** Makes the batch's numbers current on the GPU; a pass has done so at its begin. */
  private void use(CudaStepBatch batch) {
    if (pass == null) {
      gpu.bind();
      upload(batch);
    } else if (pass != batch) {
      throw new IllegalArgumentException("batch: another one than that of the pass");
    }
  }

  private Rows tokenRows(CudaStepBatch batch) {
    return new Rows(CudaStepBatch.count(imageAt, 0), pass == null ? batch.tokens() : passTokens);
  }

  private Rows logitRows(CudaStepBatch batch) {
    return new Rows(
        CudaStepBatch.count(imageAt, 2), pass == null ? batch.logitRows() : passLogitRows);
  }

  private Rows slotRows(CudaRouting routing) {
    int rows = pass == null ? routing.rows() : passTokens;
    return new Rows(routing.slotCount(), rows * routing.chosen());
  }

  /** The rows of {@code x} that take part. */
  private Rows rows(Tensor x, int rows) {
    CudaStepBatch batch = pass;
    if (batch == null) {
      gpu.bind();
      long at = counts.address() + 4L * nextCount;
      nextCount = (nextCount + 1) % COUNTS;
      if (nextCount == 0) {
        driver.synchronize(launch.stream());
      }
      driver.fill(at, rows, 1, launch.stream());
      return new Rows(at, rows);
    }
    CudaRouting slots = slotTensors.get(x.address());
    if (slots != null) {
      requireRows(rows, batch.tokens() * slots.chosen(), "slots");
      return slotRows(slots);
    }
    if (x.address() == logitTensor || x.address() == logitResult) {
      requireRows(rows, batch.logitRows(), "logit rows");
      return logitRows(batch);
    }
    requireRows(rows, batch.tokens(), "tokens");
    return tokenRows(batch);
  }

  private static void requireRows(int rows, int expected, String what) {
    if (rows != expected) {
      throw new IllegalArgumentException(
          "rows: %d (expected: %d, the %s of the pass)".formatted(rows, expected, what));
    }
  }

  private static int pitch(Tensor tensor) {
    return Math.toIntExact(tensor.columns());
  }

  @Override
  protected void embedTokens(Tensor out, Tensor table, CudaStepBatch batch, int width) {
    use(batch);
    Rows rows = tokenRows(batch);
    products.changed(out);
    if (table.dtype() == FLOAT32) {
      launch
          .of("embed_float")
          .address(out.address())
          .number(pitch(out))
          .address(table.address())
          .address(batch.tokenIdsAt(imageAt))
          .address(rows.address())
          .number(width)
          .run(rows.grid(), ROW_BLOCK, 0);
      return;
    }
    MemorySegment shards = beginShards(out);
    shards.set(JAVA_LONG, 0, table.address());
    shards.set(JAVA_INT, 64, Math.toIntExact(table.rows()));
    endShards(Packing.plain(width), batch, rows);
  }

  @Override
  protected void embedTokens(Tensor out, List<CudaLinearWeight> shards, CudaStepBatch batch) {
    use(batch);
    products.changed(out);
    MemorySegment struct = beginShards(out);
    for (int i = 0; i < shards.size(); i++) {
      struct.setAtIndex(JAVA_LONG, i, shards.get(i).memory().address());
      struct.set(JAVA_INT, 64 + 4L * i, shards.get(i).outputs());
    }
    endShards(shards.getFirst().packing(), batch, tokenRows(batch));
  }

  private MemorySegment beginShards(Tensor out) {
    launch.of("embed_bf16").address(out.address()).number(pitch(out));
    return launch.struct(96).fill((byte) 0);
  }

  private void endShards(Packing packing, CudaStepBatch batch, Rows rows) {
    launch.address(batch.tokenIdsAt(imageAt)).address(rows.address());
    packing.write(launch.struct(Packing.BYTES));
    launch.run(rows.grid(), ROW_BLOCK, 0);
  }

  @Override
  protected void rmsNormRows(
      Tensor out, Tensor x, Tensor weight, float epsilon, int count, int width) {
    Rows rows = rows(x, count);
    int group = pitch(weight);
    products.changed(out);
    launch
        .of("rms_norm")
        .address(out.address())
        .number(pitch(out))
        .address(x.address())
        .number(pitch(x))
        .address(weight.address())
        .number(epsilon)
        .address(rows.address())
        .number(group)
        .run(rows.grid(), width / group, 1, Products.normBlock(group), Products.normShared());
  }

  @Override
  protected void linearRows(
      Tensor out, Tensor x, CudaLinearWeight weight, @Nullable Tensor bias, int count) {
    multiply(out, x, weight, bias, Products.STORED, count);
  }

  @Override
  protected void addLinearRows(
      Tensor stream,
      Tensor x,
      CudaLinearWeight weight,
      @Nullable Tensor bias,
      Tensor scratch,
      int count) {
    multiply(stream, x, weight, bias, Products.ADDED, count);
  }

  private void multiply(
      Tensor out, Tensor x, CudaLinearWeight weight, @Nullable Tensor bias, int mode, int count) {
    Rows rows = rows(x, count);
    readers.put(x.address(), weight.packing());
    long inputs = products.inputs(x, null, weight.packing(), rows);
    products.changed(out);
    products.begin();
    products.add(
        weight.memory().address(), weight.outputs(), weight.tiles(), out, bias, null, mode, 0);
    products.run(weight.packing(), weight.packing(), inputs, rows);
  }

  @Override
  protected void linearRows(List<Projection> all, Tensor x, @Nullable Norm norm, int count) {
    Rows rows = rows(x, count);
    Packing packing = ((CudaLinearWeight) all.getFirst().weight()).packing();
    long inputs = products.inputs(x, norm, packing, rows);
    for (int from = 0; from < all.size(); from += Products.MOST) {
      products.begin();
      for (int i = from; i < Math.min(all.size(), from + Products.MOST); i++) {
        Projection each = all.get(i);
        CudaLinearWeight weight = (CudaLinearWeight) each.weight();
        if (!weight.packing().equals(packing)) {
          throw new IllegalArgumentException(
              "weight: %s (expected: the first product's inputs, %s)"
                  .formatted(weight.packing(), packing));
        }
        if (x.address() == logitTensor) {
          logitResult = each.out().address();
        }
        products.changed(each.out());
        products.add(
            weight.memory().address(),
            weight.outputs(),
            weight.tiles(),
            each.out(),
            each.bias(),
            null,
            Products.STORED,
            0);
      }
      products.run(packing, packing, inputs, rows);
    }
  }

  @Override
  protected void gatedRows(
      Tensor out,
      Tensor x,
      @Nullable Norm norm,
      CudaGatedWeight weight,
      @Nullable Tensor gateBias,
      @Nullable Tensor upBias,
      int count) {
    Rows rows = rows(x, count);
    long inputs = products.inputs(x, norm, weight.packing(), rows);
    Packing next = readers.get(out.address());
    products.begin();
    products.add(
        weight.memory().address(),
        weight.outputs(),
        weight.tiles(),
        out,
        gateBias,
        upBias,
        Products.GATED,
        products.carry(out, next, rows));
    products.run(weight.packing(), next == null ? weight.packing() : next, inputs, rows);
  }

  @Override
  protected void ropeStoreTokens(
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor cos,
      Tensor sin,
      CudaKvCache cache,
      int layer,
      CudaStepBatch batch,
      int heads) {
    use(batch);
    Rows rows = tokenRows(batch);
    launch
        .of("rope_store")
        .address(q.address())
        .number(pitch(q))
        .address(k.address())
        .number(pitch(k))
        .address(v.address())
        .number(pitch(v))
        .address(cos.address())
        .address(sin.address())
        .number(heads);
    cache.write(launch.struct(CudaKvCache.LAYER_BYTES), layer);
    batch.write(launch.struct(CudaStepBatch.STRUCT_BYTES), imageAt);
    launch.run(rows.grid(), ROW_BLOCK, 0);
  }

  @Override
  protected void attentionTokens(
      Tensor out,
      Tensor q,
      CudaKvCache cache,
      int layer,
      CudaStepBatch batch,
      int heads,
      float scale,
      int window) {
    use(batch);
    KvShape shape = cache.shape();
    int group = heads / shape.kvHeads();
    Packing next = readers.get(out.address());
    long rounded = products.carry(out, next, tokenRows(batch));
    Packing packing = next == null ? Packing.plain(heads * shape.headDim()) : next;
    // Kernels are made for the powers of two of widths.
    int width = Math.max(32, Integer.highestOneBit(2 * cache.width() - 1));
    String kind = (cache.inBytes() ? "int8_" : "") + width;
    if (batch.runs() > 0) {
      launch
          .of("attention_runs_" + kind)
          .address(out.address())
          .number(pitch(out))
          .address(rounded);
      packing.write(launch.struct(Packing.BYTES));
      launch.address(q.address()).number(pitch(q)).number(heads);
      cache.write(launch.struct(CudaKvCache.LAYER_BYTES), layer);
      batch.write(launch.struct(CudaStepBatch.STRUCT_BYTES), imageAt);
      launch
          .number(scale)
          .number(window)
          .run(
              batch.runs(),
              shape.kvHeads(),
              Math.ceilDiv(RUN * group, RUN_ROWS),
              BLOCK,
              runsShared(width));
    }
    // A recorded pass is for more tokens than there are, but for no more than have room.
    int singles =
        pass != null && batch.runs() == 0
            ? Math.min(passTokens, batch.mostSingles())
            : batch.singles();
    if (singles > 0) {
      int splits = Math.ceilDiv(batch.span() * shape.blockTokens(), SPLIT);
      long sums = (long) singles * heads * splits;
      long partials = attention.address(sums * (cache.width() + 2) * Float.BYTES);
      long stats = partials + sums * cache.width() * Float.BYTES;
      launch
          .of("attention_singles_" + kind)
          .address(partials)
          .address(stats)
          .number(splits)
          .address(q.address())
          .number(pitch(q))
          .number(heads);
      cache.write(launch.struct(CudaKvCache.LAYER_BYTES), layer);
      batch.write(launch.struct(CudaStepBatch.STRUCT_BYTES), imageAt);
      launch
          .number(scale)
          .number(window)
          .run(
              singles,
              shape.kvHeads() * Math.ceilDiv(group, GROUP),
              splits,
              ROW_BLOCK,
              SHARED_A_DIM * width + SINGLES_SHARED);
      launch.of("attention_join").address(out.address()).number(pitch(out)).address(rounded);
      packing.write(launch.struct(Packing.BYTES));
      launch.address(partials).address(stats).number(splits).number(heads);
      cache.write(launch.struct(CudaKvCache.LAYER_BYTES), layer);
      batch.write(launch.struct(CudaStepBatch.STRUCT_BYTES), imageAt);
      launch.number(window).run(singles, heads, 1, WARP, 0);
    }
  }

  /** Bytes of a block of attention over runs. */
  static int runsShared(int width) {
    return SHARED_A_DIM * width + RUNS_SHARED + (width == MAX_HEAD_DIM ? WIDEST_RUNS_SHARED : 0);
  }

  @Override
  protected void addRows(Tensor x, Tensor y, int count, int width) {
    Rows rows = rows(x, count);
    products.changed(x);
    launch
        .of("add")
        .address(x.address())
        .number(pitch(x))
        .address(y.address())
        .number(y.rows() == 1 ? 0 : pitch(y))
        .address(rows.address())
        .number(width)
        .run(Math.ceilDiv(width, BLOCK), rows.grid(), 1, BLOCK, 0);
  }

  @Override
  protected void siluMultiplyRows(Tensor out, Tensor gate, Tensor up, int count, int width) {
    Rows rows = rows(gate, count);
    products.changed(out);
    launch
        .of("silu_multiply")
        .address(out.address())
        .number(pitch(out))
        .address(gate.address())
        .number(pitch(gate))
        .address(up.address())
        .number(pitch(up))
        .address(rows.address())
        .number(width)
        .run(Math.ceilDiv(width, BLOCK), rows.grid(), 1, BLOCK, 0);
  }

  private void gather(Tensor out, Tensor x, long index, Rows rows, int width) {
    products.changed(out);
    launch
        .of("gather_rows")
        .address(out.address())
        .number(pitch(out))
        .address(x.address())
        .number(pitch(x))
        .address(index)
        .address(rows.address())
        .number(width)
        .run(Math.ceilDiv(width, BLOCK), Math.min(rows.grid(), MOST_GRID), 1, BLOCK, 0);
  }

  @Override
  protected void gatherTokens(Tensor out, Tensor x, CudaStepBatch batch, int width) {
    use(batch);
    gather(out, x, batch.logitIndexAt(imageAt), logitRows(batch), width);
    logitTensor = out.address();
  }

  @Override
  protected void routeRows(CudaRouting routing, Tensor scores, int count, boolean normalize) {
    Rows rows = rows(scores, count);
    routing.routed(count);
    routing.write(launch.of("route_choose").struct(CudaRouting.BYTES));
    launch
        .address(scores.address())
        .number(pitch(scores))
        .address(rows.address())
        .number(normalize ? 1 : 0)
        .run(rows.grid(), WARP, routing.experts() * Float.BYTES);
    routing.write(launch.of("route_sort").struct(CudaRouting.BYTES));
    launch.run(routing.experts(), BLOCK, 64);
  }

  @Override
  protected void gatherSlots(Tensor out, Tensor x, CudaRouting routing, int width) {
    gather(out, x, routing.rowOfSlot(), slotRows(routing), width);
    slotTensors.put(out.address(), routing);
  }

  @Override
  protected void linearSlots(
      Tensor out, Tensor x, List<LinearWeight> experts, CudaRouting routing) {
    Rows rows = slotRows(routing);
    CudaLinearWeight first = (CudaLinearWeight) experts.getFirst();
    readers.put(x.address(), first.packing());
    long inputs = products.inputs(x, null, first.packing(), rows);
    products.changed(out);
    slotTensors.put(out.address(), routing);
    products.begin();
    products.add(0, first.outputs(), first.tiles(), out, null, null, Products.STORED, 0);
    products.run(
        first.packing(), first.packing(), inputs, rows, routing, addresses(experts, this::memory));
  }

  @Override
  protected void gatedSlots(Tensor out, Tensor x, List<GatedWeight> experts, CudaRouting routing) {
    Rows rows = slotRows(routing);
    CudaGatedWeight first = (CudaGatedWeight) experts.getFirst();
    long inputs = products.inputs(x, null, first.packing(), rows);
    Packing next = readers.get(out.address());
    slotTensors.put(out.address(), routing);
    products.begin();
    products.add(
        0,
        first.outputs(),
        first.tiles(),
        out,
        null,
        null,
        Products.GATED,
        products.carry(out, next, rows));
    products.run(
        first.packing(),
        next == null ? first.packing() : next,
        inputs,
        rows,
        routing,
        addresses(experts, each -> ((CudaGatedWeight) each).memory()));
  }

  private MemorySegment memory(LinearWeight weight) {
    return ((CudaLinearWeight) weight).memory();
  }

  /** Where the weights of a layer's experts lie, as a table on the GPU that is made once. */
  private <T> long addresses(List<T> experts, Function<T, MemorySegment> memory) {
    Long known = expertTables.get(experts);
    if (known != null) {
      return known;
    }
    long bytes = (long) experts.size() * Long.BYTES;
    boolean planned = bytes <= tables.byteSize() - tablesTaken;
    MemorySegment table =
        planned ? tables.asSlice(tablesTaken, bytes) : gpu.allocate(bytes, "table of experts");
    MemorySegment pinned = planned ? tablesOnHost.asSlice(tablesTaken, bytes) : gpu.pinned(bytes);
    tablesTaken += planned ? bytes : 0;
    for (int i = 0; i < experts.size(); i++) {
      pinned.setAtIndex(JAVA_LONG, i, memory.apply(experts.get(i)).address());
    }
    // Beside the rank's stream, which may be recording.
    driver.upload(table.address(), pinned, gpu.setup());
    driver.synchronize(gpu.setup());
    expertTables.put(experts, table.address());
    return table.address();
  }

  @Override
  protected void combineRows(Tensor out, Tensor x, CudaRouting routing, int width) {
    int rows = pass == null ? routing.rows() : passTokens;
    products.changed(out);
    launch
        .of("combine_routed")
        .address(out.address())
        .number(pitch(out))
        .address(x.address())
        .number(pitch(x));
    routing.write(launch.struct(CudaRouting.BYTES));
    launch.number(width).run(Math.ceilDiv(width, BLOCK), rows, 1, BLOCK, 0);
  }

  @Override
  protected void reduceRanks(Tensor x, int count, int width) {
    Rows rows = rows(x, count);
    products.changed(x);
    reduction.launch(launch, rank(), x, x, null, false, rows, width);
  }

  @Override
  protected void addReducedRows(
      Tensor stream, Tensor parts, @Nullable Tensor bias, int count, int width) {
    Rows rows = rows(parts, count);
    products.changed(stream);
    reduction.launch(launch, rank(), stream, parts, bias, true, rows, width);
  }

  /** Columns go from GPU to GPU; the ranks meet at the end of the pass. */
  @Override
  protected void gatherColumns(Tensor out, Tensor part, int count, int columnFrom, int width) {
    Rows rows = rows(part, count);
    launch
        .of("copy_columns")
        .address(out.address() + 4L * columnFrom)
        .number(pitch(out))
        .address(part.address())
        .number(pitch(part))
        .address(rows.address())
        .number(width)
        .run(Math.ceilDiv(width, BLOCK), rows.grid(), 1, BLOCK, 0);
  }

  @Override
  public void abort(Throwable cause) {
    reduction.abort(cause);
  }
}
