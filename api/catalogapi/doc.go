// Package catalogapi is the routes that read and write the catalog.
package catalogapi
