import ControlProtocol
import Logging

/// Drops old reports, at the start and then every hour.
struct TelemetryRetention: Sendable {
    let store: CoordinatorStore
    let days: Double
    let now: @Sendable () -> Timestamp
    let logger: Logger

    func run() async {
        repeat {
            do {
                let milliseconds = Int64(days * 86_400_000)
                let time = Timestamp(milliseconds: now().milliseconds - milliseconds)
                let count = try await store.dropReports(before: time)
                // Of a clock that went wrong there is no other trace.
                if count > 0 {
                    logger.notice("old reports were dropped", metadata: ["count": "\(count)", "before": "\(time)"])
                }
            } catch is CancellationError {
                return
            } catch {
                // On a full disk, say: the next time will do.
                logger.warning("old reports stay", metadata: ["reason": "\(StoreError.reason(error))"])
            }
        } while (try? await Task.sleep(for: .seconds(3_600))) != nil
    }
}
