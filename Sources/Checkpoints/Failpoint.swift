import Foundation
import Synchronization

/// Where the process can be made to end, so that tests see what survives there: with `MOE_FAILPOINT=disk:N` in its environment it
/// gets SIGKILL before it changes the disk for the Nth time. That is all it can do.
enum Failpoint {
    private static let number: Int? = {
        let parts = ProcessInfo.processInfo.environment["MOE_FAILPOINT"]?.split(separator: ":")
        guard let parts, parts.count == 2, parts[0] == "disk" else { return nil }
        return Int(parts[1])
    }()
    private static let passes = Atomic(0)

    /// Marks a change of the disk that comes next.
    static func reach() {
        guard let number, passes.add(1, ordering: .relaxed).newValue == number else { return }
        kill(getpid(), SIGKILL)
        // Nothing further happens while the signal is on its way.
        while true { pause() }
    }
}
