package dev.baton.engine.model;

import dev.baton.device.Device;
import dev.baton.engine.Engine;
import dev.baton.engine.EngineOptions;

/** Loads an engine onto a device that a test has chosen; the engine owns it. */
public final class OnDevice {

  private OnDevice() {}

  public static Engine load(EngineOptions options, Device device) {
    return Engine.on(ModelLoader.load(options, line -> {}, device), options);
  }
}
