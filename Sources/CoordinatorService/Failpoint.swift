import Foundation
import Synchronization

/// A place at which the process can be made to end, so that tests see what survives there: with `MOE_FAILPOINT=PLACE:N` in its
/// environment it gets SIGKILL when it comes to PLACE for the Nth time. That is all it can do.
enum Failpoint: String, CaseIterable {
    case beforeCommit = "before-commit"
    case afterCommit = "after-commit"
    case beforeReply = "before-reply"
    case afterReply = "after-reply"

    private struct Setting {
        let place: Failpoint
        let number: Int

        init?(_ text: String) {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count == 2, let place = Failpoint(rawValue: String(parts[0])), let number = Int(parts[1]) else {
                return nil
            }
            self.place = place
            self.number = number
        }
    }

    private static let setting = ProcessInfo.processInfo.environment["MOE_FAILPOINT"].flatMap(Setting.init)
    private static let passes = Atomic(0)

    /// Marks the place in the code.
    static func reach(_ place: Failpoint) {
        guard let setting, setting.place == place else { return }
        guard passes.add(1, ordering: .relaxed).newValue == setting.number else { return }
        kill(getpid(), SIGKILL)
        // Nothing further happens while the signal is on its way.
        while true { pause() }
    }
}
