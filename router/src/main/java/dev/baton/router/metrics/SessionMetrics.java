package dev.baton.router.metrics;

import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.worker.v1.HandedOff;
import dev.baton.router.session.SessionObserver;
import io.prometheus.metrics.core.metrics.Counter;
import io.prometheus.metrics.core.metrics.Gauge;
import io.prometheus.metrics.core.metrics.Histogram;
import io.prometheus.metrics.model.registry.PrometheusRegistry;
import java.util.Locale;

/**
 * Counts and times sessions, under the names and with the buckets that vLLM's dashboards and
 * autoscalers know; what vLLM has no name for begins with baton_.
 */
public final class SessionMetrics implements SessionObserver {

  private static final String ENGINE = "0";
  private static final double NANO = 1e-9;

  private final Histogram timeToFirstToken;
  private final Histogram interTokenLatency;
  private final Histogram requestLatency;
  private final Histogram handOff;
  private final Counter promptTokens;
  private final Counter generationTokens;
  private final Counter moves;
  private final Counter prefixFetches;
  private final Counter prefixTokens;
  private final Counter success;
  private final Counter failures;
  private final Gauge active;

  public SessionMetrics(PrometheusRegistry registry) {
    timeToFirstToken =
        histogram(
                "vllm:time_to_first_token_seconds",
                "From the start of a session to its first token.",
                .001,
                .005,
                .01,
                .02,
                .04,
                .06,
                .08,
                .1,
                .25,
                .5,
                .75,
                1,
                2.5,
                5,
                7.5,
                10,
                20,
                40,
                80,
                160,
                640,
                2560)
            .register(registry);
    interTokenLatency =
        histogram(
                "vllm:inter_token_latency_seconds",
                "Between two tokens of a session.",
                .001,
                .0025,
                .005,
                .01,
                .025,
                .05,
                .075,
                .1,
                .15,
                .2,
                .3,
                .4,
                .5,
                .75,
                1,
                2.5,
                5,
                7.5,
                10,
                20,
                40,
                80)
            .register(registry);
    requestLatency =
        histogram(
                "vllm:e2e_request_latency_seconds",
                "From the start of a session to its end.",
                .01,
                .05,
                .1,
                .3,
                .5,
                .8,
                1,
                1.5,
                2,
                2.5,
                5,
                10,
                15,
                20,
                30,
                40,
                50,
                60,
                120,
                240,
                480,
                960,
                1920,
                7680)
            .register(registry);
    handOff =
        Histogram.builder()
            .name("baton_handoff_seconds")
            .help("From the first slab of a hand-off to its acknowledgement.")
            .labelNames("model_name")
            .classicOnly()
            .classicUpperBounds(
                .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30)
            .register(registry);
    promptTokens = counter("vllm:prompt_tokens", "Prompt tokens of ended sessions.", registry);
    generationTokens = counter("vllm:generation_tokens", "Tokens generated.", registry);
    moves =
        Counter.builder()
            .name("baton_session_moves")
            .help("Sessions that went to another decode worker with their KV.")
            .labelNames("model_name")
            .register(registry);
    prefixFetches =
        Counter.builder()
            .name("baton_prefix_fetches")
            .help("Cached prefixes asked of a worker for another one, by what came of it.")
            .labelNames("model_name", "outcome")
            .register(registry);
    prefixTokens =
        Counter.builder()
            .name("baton_prefix_fetched_tokens")
            .help("Tokens of prefixes that came from another worker's cache.")
            .labelNames("model_name")
            .register(registry);
    success =
        Counter.builder()
            .name("vllm:request_success")
            .help("Sessions that ended in order.")
            .labelNames("model_name", "engine", "finished_reason")
            .register(registry);
    failures =
        Counter.builder()
            .name("baton_session_failures")
            .help("Sessions that failed or were cancelled, by error code.")
            .labelNames("model_name", "code")
            .register(registry);
    active =
        Gauge.builder()
            .name("baton_sessions_active")
            .help("Sessions that run or wait.")
            .labelNames("model_name")
            .register(registry);
  }

  @Override
  public void started(String model) {
    active.labelValues(model).inc();
  }

  @Override
  public void token(String model, boolean first, long nanos) {
    (first ? timeToFirstToken : interTokenLatency).labelValues(model, ENGINE).observe(nanos * NANO);
    generationTokens.labelValues(model, ENGINE).inc();
  }

  @Override
  public void handedOff(String model, HandedOff event) {
    handOff.labelValues(model).observe(event.getNanos() * NANO);
  }

  @Override
  public void moved(String model, HandedOff event) {
    handedOff(model, event);
    moves.labelValues(model).inc();
  }

  @Override
  public void prefixFetched(String model, int tokens, long nanos) {
    prefixFetches.labelValues(model, tokens > 0 ? "fetched" : "given_up").inc();
    prefixTokens.labelValues(model).inc(tokens);
  }

  @Override
  public void ended(String model, Outcome outcome) {
    active.labelValues(model).dec();
    promptTokens.labelValues(model, ENGINE).inc(outcome.promptTokens());
    FinishReason reason = outcome.reason();
    if (reason != null) {
      requestLatency.labelValues(model, ENGINE).observe(outcome.nanos() * NANO);
      success.labelValues(model, ENGINE, reason.name().toLowerCase(Locale.ROOT)).inc();
    } else if (outcome.error() != null) {
      failures.labelValues(model, outcome.error().name()).inc();
    }
  }

  private static Histogram.Builder histogram(String name, String help, double... bounds) {
    return Histogram.builder()
        .name(name)
        .help(help)
        .labelNames("model_name", "engine")
        .classicOnly()
        .classicUpperBounds(bounds);
  }

  private static Counter counter(String name, String help, PrometheusRegistry registry) {
    return Counter.builder()
        .name(name)
        .help(help)
        .labelNames("model_name", "engine")
        .register(registry);
  }
}
