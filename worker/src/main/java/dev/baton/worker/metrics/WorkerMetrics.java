package dev.baton.worker.metrics;

import dev.baton.device.DeviceHealth;
import dev.baton.engine.EngineStatus;
import dev.baton.engine.LedgerSnapshot;
import dev.baton.kvtransfer.SlabLedger;
import dev.baton.kvtransfer.TransferTotals;
import dev.baton.worker.WorkerCore;
import dev.baton.worker.ledger.Holding;
import io.prometheus.metrics.core.metrics.CounterWithCallback;
import io.prometheus.metrics.core.metrics.GaugeWithCallback;
import io.prometheus.metrics.model.registry.PrometheusRegistry;
import java.util.function.DoubleSupplier;
import java.util.function.IntSupplier;
import java.util.function.Supplier;
import java.util.function.ToDoubleFunction;

/**
 * The meters of a worker. Nothing is counted here: each scrape reads the engine's and the
 * transfer's own counters, so that the hot path pays nothing.
 */
public final class WorkerMetrics {

  private final PrometheusRegistry registry = new PrometheusRegistry();

  /** The meters that every worker has. */
  public WorkerMetrics(Supplier<EngineStatus> engine, IntSupplier sessions) {
    GaugeWithCallback.builder()
        .name("baton_blocks")
        .help("KV blocks by state of the ledger.")
        .labelNames("state")
        .callback(
            meter -> {
              LedgerSnapshot ledger = engine.get().ledger();
              meter.call(ledger.owned(), "owned");
              meter.call(ledger.reserved(), "reserved");
              meter.call(ledger.cached(), "cached");
              meter.call(ledger.quarantined(), "quarantined");
              meter.call(ledger.free(), "free");
            })
        .register(registry);
    GaugeWithCallback.builder()
        .name("baton_blocks_capacity")
        .help("KV blocks in all: the sum of the states.")
        .callback(meter -> meter.call(engine.get().ledger().capacity()))
        .register(registry);
    GaugeWithCallback.builder()
        .name("baton_sessions")
        .help("Sessions on the worker, those still freeing included.")
        .callback(meter -> meter.call(sessions.getAsInt()))
        .register(registry);
    gauge(
        "baton_sessions_waiting",
        "Sessions before their first step.",
        engine,
        EngineStatus::waitingSessions);
    gauge(
        "baton_sessions_running",
        "Sessions with at least one step done.",
        engine,
        EngineStatus::runningSessions);
    gauge(
        "baton_queued_prompt_tokens",
        "Prompt tokens admitted and not yet computed.",
        engine,
        EngineStatus::queuedPromptTokens);
    counter("baton_steps", "Steps run.", engine, EngineStatus::steps);
    counter("baton_prompt_tokens", "Prompt tokens computed.", engine, EngineStatus::promptTokens);
    counter("baton_generated_tokens", "Tokens sampled.", engine, EngineStatus::generatedTokens);
    counter(
        "baton_cached_tokens",
        "Prompt tokens answered from the prefix cache.",
        engine,
        EngineStatus::cachedTokens);
    counter(
        "baton_preemptions",
        "Sessions whose blocks were taken for others.",
        engine,
        EngineStatus::preemptions);
    counter(
        "baton_preemptions_swapped",
        "Those of them whose KV was copied away, not to be computed again.",
        engine,
        EngineStatus::swaps);
    GaugeWithCallback.builder()
        .name("baton_kv_swapped_blocks")
        .help("Blocks of KV that preempted sessions have in host memory.")
        .callback(meter -> meter.call(engine.get().ledger().swapped()))
        .register(registry);
  }

  /** The meters of hand-offs. */
  public void addHandoffs(Supplier<TransferTotals> totals) {
    directions(
        "baton_handoffs",
        "Hand-offs completed.",
        totals,
        TransferTotals::exported,
        TransferTotals::imported);
    directions(
        "baton_handoff_bytes",
        "Bytes of KV handed off.",
        totals,
        TransferTotals::exportedBytes,
        TransferTotals::importedBytes);
    directions(
        "baton_handoff_slabs",
        "Slabs handed off.",
        totals,
        TransferTotals::exportedSlabs,
        TransferTotals::importedSlabs);
    counter(
        "baton_handoff_seconds",
        "Seconds of completed hand-offs, summed.",
        totals,
        t -> t.nanos() / 1e9);
    counter(
        "baton_handoffs_aborted",
        "Hand-offs that failed or were cancelled.",
        totals,
        TransferTotals::aborted);
    counter(
        "baton_handoff_corrupt_slabs",
        "Slabs refused because a check failed.",
        totals,
        TransferTotals::corruptSlabs);
    gauge(
        "baton_handoff_slab_bytes_in_use",
        "Bytes of slabs in use.",
        totals,
        TransferTotals::slabBytesInUse);
    gauge(
        "baton_handoff_slab_bytes_quarantined",
        "Bytes of slabs that a peer which stood still never gave back.",
        totals,
        TransferTotals::slabBytesQuarantined);
    GaugeWithCallback.builder()
        .name("baton_slabs")
        .help("Slabs by pool and state of the ledger.")
        .labelNames("pool", "state")
        .callback(
            meter -> {
              TransferTotals now = totals.get();
              slabs(meter, "sending", now.sending());
              slabs(meter, "landing", now.landing());
            })
        .register(registry);
    GaugeWithCallback.builder()
        .name("baton_slabs_capacity")
        .help("Slabs of a pool in all: the sum of the states.")
        .labelNames("pool")
        .callback(
            meter -> {
              meter.call(totals.get().sending().capacity(), "sending");
              meter.call(totals.get().landing().capacity(), "landing");
            })
        .register(registry);
    GaugeWithCallback.builder()
        .name("baton_handoffs_open")
        .help("Hand-offs under way.")
        .labelNames("direction")
        .callback(
            meter -> {
              TransferTotals now = totals.get();
              meter.call(now.openExports(), "export");
              meter.call(now.openImports(), "import");
            })
        .register(registry);
  }

  private static void slabs(GaugeWithCallback.Callback meter, String pool, SlabLedger ledger) {
    meter.call(ledger.owned(), pool, "owned");
    meter.call(ledger.quarantined(), pool, "quarantined");
    meter.call(ledger.free(), pool, "free");
  }

  /** The meters of what nobody gives back. */
  public void addLeaks(Supplier<WorkerCore.Leaks> leaks) {
    counter(
        "baton_leaks",
        "Times that something was found held for a session that no call has; the log names each.",
        leaks,
        WorkerCore.Leaks::found);
    GaugeWithCallback.builder()
        .name("baton_leaked")
        .help("Blocks, pages and slabs held now for sessions that no call has.")
        .labelNames("what")
        .callback(
            meter -> {
              for (Holding.What what : Holding.What.values()) {
                meter.call(
                    leaks.get().now().stream()
                        .filter(held -> held.what() == what)
                        .mapToLong(Holding::count)
                        .sum(),
                    what.label());
              }
            })
        .register(registry);
  }

  /** The meters of the chips that the worker computes on; what is not known is left out. */
  public void addChips(Supplier<DeviceHealth> health) {
    chips("baton_gpu_celsius", "Temperature.", health, DeviceHealth.Chip::celsius);
    chips("baton_gpu_watts", "Power drawn.", health, DeviceHealth.Chip::watts);
    chips(
        "baton_gpu_memory_errors",
        "Memory errors that could not be corrected, since the driver was loaded.",
        health,
        DeviceHealth.Chip::uncorrected);
    chips(
        "baton_gpu_throttled",
        "Reasons for which clocks are held down.",
        health,
        chip -> chip.throttled().size());
    CounterWithCallback.builder()
        .name("baton_gpu_joules")
        .help(
            "Energy drawn since the driver was loaded; its increase over that of"
                + " baton_generated_tokens is energy per token.")
        .labelNames("gpu")
        .callback(
            meter ->
                health.get().chips().stream()
                    .filter(chip -> chip.joules() >= 0)
                    .forEach(chip -> meter.call(chip.joules(), chip.name())))
        .register(registry);
  }

  /**
   * The meters of what the chips have drawn for tokens, in joules.
   *
   * @param prompts of tokens of prompts
   * @param generated of tokens that were sampled
   * @param idle while no token was computed
   */
  public void addEnergy(DoubleSupplier prompts, DoubleSupplier generated, DoubleSupplier idle) {
    CounterWithCallback.builder()
        .name("baton_token_joules")
        .help(
            "Energy of the worker's chips, shared out by the tokens that were computed while it was"
                + " drawn: a request's is its tokens' part. Idle: drawn while none was.")
        .labelNames("of")
        .callback(
            meter -> {
              meter.call(prompts.getAsDouble(), "prompt");
              meter.call(generated.getAsDouble(), "generated");
              meter.call(idle.getAsDouble(), "idle");
            })
        .register(registry);
  }

  private void chips(
      String name,
      String help,
      Supplier<DeviceHealth> health,
      ToDoubleFunction<DeviceHealth.Chip> value) {
    GaugeWithCallback.builder()
        .name(name)
        .help(help)
        .labelNames("gpu")
        .callback(
            meter ->
                health.get().chips().stream()
                    .filter(chip -> value.applyAsDouble(chip) >= 0)
                    .forEach(chip -> meter.call(value.applyAsDouble(chip), chip.name())))
        .register(registry);
  }

  PrometheusRegistry registry() {
    return registry;
  }

  private <T> void gauge(String name, String help, Supplier<T> source, ToDoubleFunction<T> value) {
    GaugeWithCallback.builder()
        .name(name)
        .help(help)
        .callback(meter -> meter.call(value.applyAsDouble(source.get())))
        .register(registry);
  }

  private <T> void counter(
      String name, String help, Supplier<T> source, ToDoubleFunction<T> value) {
    CounterWithCallback.builder()
        .name(name)
        .help(help)
        .callback(meter -> meter.call(value.applyAsDouble(source.get())))
        .register(registry);
  }

  private <T> void directions(
      String name,
      String help,
      Supplier<T> source,
      ToDoubleFunction<T> exported,
      ToDoubleFunction<T> imported) {
    CounterWithCallback.builder()
        .name(name)
        .help(help)
        .labelNames("direction")
        .callback(
            meter -> {
              T now = source.get();
              meter.call(exported.applyAsDouble(now), "export");
              meter.call(imported.applyAsDouble(now), "import");
            })
        .register(registry);
  }
}
