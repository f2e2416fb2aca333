import Foundation
import PlanningPrograms

/// Ends a program that places experts when somebody ends this one: it has a process group of its own, which a terminal's
/// Control-C does not reach.
enum ProgramInterrupt {
    static let cancellation = PlanningCancellation()

    static func trap() {
        // Made before a handler asks for it.
        _ = cancellation
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal(number) { number in
                ProgramInterrupt.cancellation.cancel()
                // The second one does not wait for anybody.
                signal(number, SIG_DFL)
            }
        }
    }
}
