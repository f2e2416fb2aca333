import Foundation

/// Memory of this process that is in use.
public enum ResidentMemory {
    /// Resident set size in bytes (`/proc/self/statm`, proc(5)); 0 where the system does not tell.
    public static func bytes() -> Int {
        guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8),
            case let fields = text.split(separator: " "), fields.count > 1, let pages = Int(fields[1])
        else { return 0 }
        return pages * sysconf(Int32(_SC_PAGESIZE))
    }
}
