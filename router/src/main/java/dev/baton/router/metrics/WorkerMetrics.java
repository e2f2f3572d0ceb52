package dev.baton.router.metrics;

import dev.baton.proto.worker.v1.BlockLedger;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.WorkerStatus;
import dev.baton.router.registry.Worker;
import dev.baton.router.registry.WorkerDirectory;
import dev.baton.router.session.Sessions;
import io.prometheus.metrics.core.metrics.CounterWithCallback;
import io.prometheus.metrics.core.metrics.GaugeWithCallback;
import io.prometheus.metrics.model.registry.PrometheusRegistry;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.ToDoubleBiFunction;
import java.util.function.ToLongFunction;

/** The workers' latest statuses, read whenever Prometheus asks. */
public final class WorkerMetrics {

  private static final String ENGINE = "0";

  private final WorkerDirectory directory;
  private final Sessions sessions;

  private WorkerMetrics(WorkerDirectory directory, Sessions sessions) {
    this.directory = directory;
    this.sessions = sessions;
  }

  /** Registers all of them. */
  public static void register(
      PrometheusRegistry registry, WorkerDirectory directory, Sessions sessions) {
    WorkerMetrics metrics = new WorkerMetrics(directory, sessions);
    metrics.registerBlocks(registry);
    metrics.registerCacheConfig(registry);
    metrics.registerPools(registry);
    metrics.registerLoad(registry);
    metrics.registerHandOffs(registry);
  }

  private void registerBlocks(PrometheusRegistry registry) {
    GaugeWithCallback.builder()
        .name("baton_kv_blocks")
        .help("KV blocks by state; the states of a worker add up to its capacity.")
        .labelNames("worker", "role", "state")
        .callback(
            gauge -> {
              for (Worker worker : directory.workers()) {
                worker
                    .status()
                    .map(WorkerStatus::getLedger)
                    .ifPresent(
                        ledger ->
                            states(ledger)
                                .forEach(
                                    (state, blocks) ->
                                        gauge.call(blocks, worker.id(), role(worker), state)));
              }
            })
        .register(registry);
    GaugeWithCallback.builder()
        .name("baton_kv_blocks_capacity")
        .help("KV blocks of a worker in all.")
        .labelNames("worker", "role")
        .callback(
            gauge ->
                directory
                    .workers()
                    .forEach(
                        worker ->
                            gauge.call(
                                worker.registration().getBlockCapacity(),
                                worker.id(),
                                role(worker))))
        .register(registry);
    workerCounter(
        registry,
        "baton_worker_leaks",
        "Times that a worker found something held for a session that no call has.",
        WorkerStatus::getLeaksFound);
    GaugeWithCallback.builder()
        .name("baton_slab_bytes")
        .help("Bytes of slabs in use for hand-offs.")
        .labelNames("worker", "role")
        .callback(
            gauge ->
                directory
                    .workers()
                    .forEach(
                        worker ->
                            worker
                                .status()
                                .ifPresent(
                                    status ->
                                        gauge.call(
                                            status.getLedger().getSlabBytes(),
                                            worker.id(),
                                            role(worker)))))
        .register(registry);
  }

  /** What autoscalers and gateways read to know how large the caches are. */
  private void registerCacheConfig(PrometheusRegistry registry) {
    GaugeWithCallback.builder()
        .name("vllm:cache_config_info")
        .help("Block size in tokens and number of blocks of a decode worker's KV cache; always 1.")
        .labelNames("model_name", "engine", "worker", "block_size", "num_gpu_blocks")
        .callback(
            gauge ->
                directory.workers().stream()
                    .filter(Worker::decodes)
                    .forEach(
                        worker ->
                            gauge.call(
                                1,
                                worker.model().name(),
                                ENGINE,
                                worker.id(),
                                Integer.toString(worker.registration().getBlockTokens()),
                                Long.toString(worker.registration().getBlockCapacity()))))
        .register(registry);
  }

  private void registerPools(PrometheusRegistry registry) {
    GaugeWithCallback.builder()
        .name("baton_workers")
        .help("Workers that may be given sessions, by role.")
        .labelNames("pool")
        .callback(
            gauge -> {
              List<Worker> workers = directory.workers();
              for (Role pool : List.of(Role.PREFILL, Role.DECODE, Role.BOTH)) {
                gauge.call(
                    workers.stream().filter(w -> w.role() == pool && w.open()).count(),
                    pool.name().toLowerCase(Locale.ROOT));
              }
            })
        .register(registry);
  }

  private void registerLoad(PrometheusRegistry registry) {
    modelGauge(
        registry,
        "vllm:num_requests_running",
        "Sessions on decode workers.",
        (model, workers) ->
            workers.stream()
                .mapToDouble(w -> w.status().map(WorkerStatus::getRunningSessions).orElse(0))
                .sum());
    modelGauge(
        registry,
        "vllm:num_requests_waiting",
        "Sessions that wait in the router or for their first step on a decode worker.",
        (model, workers) ->
            sessions.waiting()
                + workers.stream()
                    .mapToDouble(w -> w.status().map(WorkerStatus::getWaitingSessions).orElse(0))
                    .sum());
    modelGauge(
        registry,
        "vllm:kv_cache_usage_perc",
        "Share of the decode workers' KV blocks in use, 0 to 1.",
        (model, workers) -> {
          double capacity = workers.stream().mapToDouble(WorkerMetrics::capacity).sum();
          double used = workers.stream().mapToDouble(w -> capacity(w) - w.availableBlocks()).sum();
          return capacity == 0 ? 0 : used / capacity;
        });
  }

  private void registerHandOffs(PrometheusRegistry registry) {
    handOffCounter(
        registry,
        "baton_handoff_bytes",
        "Bytes of KV handed off.",
        status -> status.getHandoffs().getExportedBytes(),
        status -> status.getHandoffs().getImportedBytes());
    handOffCounter(
        registry,
        "baton_handoff_slabs",
        "Slabs handed off.",
        status -> status.getHandoffs().getExportedSlabs(),
        status -> status.getHandoffs().getImportedSlabs());
    handOffCounter(
        registry,
        "baton_handoffs",
        "Hand-offs completed.",
        status -> status.getHandoffs().getExported(),
        status -> status.getHandoffs().getImported());
    workerCounter(
        registry,
        "baton_handoffs_aborted",
        "Hand-offs that failed or were cancelled.",
        status -> status.getHandoffs().getAborted());
    workerCounter(
        registry,
        "baton_handoff_corrupt_slabs",
        "Slabs refused because a checksum did not match.",
        status -> status.getHandoffs().getCorruptSlabs());
    workerCounter(
        registry,
        "baton_worker_cached_tokens",
        "Prompt tokens answered from a prefix cache.",
        WorkerStatus::getCachedTokensTotal);
    workerCounter(registry, "baton_worker_steps", "Steps run.", WorkerStatus::getSteps);
  }

  private void modelGauge(
      PrometheusRegistry registry,
      String name,
      String help,
      ToDoubleBiFunction<String, List<Worker>> value) {
    GaugeWithCallback.builder()
        .name(name)
        .help(help)
        .labelNames("model_name", "engine")
        .callback(
            gauge -> {
              Map<String, List<Worker>> decoding = new TreeMap<>();
              for (Worker worker : directory.workers()) {
                if (worker.decodes()) {
                  decoding
                      .computeIfAbsent(worker.model().name(), unused -> new ArrayList<>())
                      .add(worker);
                }
              }
              decoding.forEach(
                  (model, workers) ->
                      gauge.call(value.applyAsDouble(model, workers), model, ENGINE));
            })
        .register(registry);
  }

  private void handOffCounter(
      PrometheusRegistry registry,
      String name,
      String help,
      ToLongFunction<WorkerStatus> exported,
      ToLongFunction<WorkerStatus> imported) {
    CounterWithCallback.builder()
        .name(name)
        .help(help)
        .labelNames("worker", "direction")
        .callback(
            counter -> {
              for (Worker worker : directory.workers()) {
                worker
                    .status()
                    .ifPresent(
                        status -> {
                          counter.call(exported.applyAsLong(status), worker.id(), "out");
                          counter.call(imported.applyAsLong(status), worker.id(), "in");
                        });
              }
            })
        .register(registry);
  }

  private void workerCounter(
      PrometheusRegistry registry, String name, String help, ToLongFunction<WorkerStatus> value) {
    CounterWithCallback.builder()
        .name(name)
        .help(help)
        .labelNames("worker")
        .callback(
            counter -> {
              for (Worker worker : directory.workers()) {
                worker
                    .status()
                    .ifPresent(status -> counter.call(value.applyAsLong(status), worker.id()));
              }
            })
        .register(registry);
  }

  private static Map<String, Long> states(BlockLedger ledger) {
    return Map.of(
        "owned", ledger.getOwned(),
        "reserved", ledger.getReserved(),
        "cached", ledger.getCached(),
        "quarantined", ledger.getQuarantined(),
        "free", ledger.getFree());
  }

  private static double capacity(Worker worker) {
    return worker.registration().getBlockCapacity();
  }

  private static String role(Worker worker) {
    return worker.role().name().toLowerCase(Locale.ROOT);
  }
}
