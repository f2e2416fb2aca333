/// The files in `Dashboard`. A file that is not listed is not served.
enum DashboardResources {
    static var all: [(name: String, bytes: [UInt8])] {
        [("index.html", PackageResources.index_html)]
    }
}
