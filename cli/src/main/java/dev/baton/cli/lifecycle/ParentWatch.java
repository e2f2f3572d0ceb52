package dev.baton.cli.lifecycle;

import java.io.IOException;
import java.io.InputStream;

/**
 * Ends the process when its parent is gone, even by kill -9: the parent holds the writing end of a
 * pipe that is this process's standard input, and the kernel closes it with the parent.
 */
public final class ParentWatch {

  /** Exit code of a process that outlived its parent. */
  public static final int ORPHANED = 3;

  private ParentWatch() {}

  /** Watches {@code pipe} on a daemon thread; its end halts the process. */
  public static void start(InputStream pipe) {
    Thread.ofPlatform()
        .daemon()
        .name("parent-watch")
        .start(
            () -> {
              awaitEnd(pipe);
              System.err.println("baton: the parent process is gone; ending");
              // Not exit: nobody is left to whom an orderly end would matter, and hooks may hang.
              Runtime.getRuntime().halt(ORPHANED);
            });
  }

  private static void awaitEnd(InputStream pipe) {
    try {
      while (pipe.read() >= 0) {
        // The parent never writes; whatever comes only shows that it lives.
      }
    } catch (IOException e) {
      System.err.println("baton: reading the parent's pipe: " + e.getMessage());
    }
  }
}
