package dev.baton.worker;

import dev.baton.engine.Engine;
import dev.baton.engine.ModelInfo;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.worker.session.Alarms;
import dev.baton.worker.session.Sessions;
import dev.baton.worker.step.StepLoop;
import java.util.Optional;

/**
 * What a worker lends to the services of its roles, for its life.
 *
 * @param engine step thread only, but for what {@link Engine} says
 * @param loop where commands to the engine are posted
 * @param sessions where calls are taken in
 * @param transfer empty on a worker without hand-off
 */
public record WorkerContext(
    ModelInfo model,
    Engine engine,
    StepLoop loop,
    Sessions sessions,
    Optional<KvTransfer> transfer,
    Alarms alarms) {}
